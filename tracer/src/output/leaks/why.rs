//! What keeps sockets in their state, and what to do about it, in words.

use std::borrow::Cow;

use crate::output::duration::push_with_unit;
use tcpclose_core::stuck::{OwnerUnknown, VerdictCount};
use tcpclose_core::types::Nanos;

/// Silences that differ by less than a part of this size are one and the same timeout.
const ALIKE_PART: u64 = 10;

/// Returns why these sockets stay in their state. `fds`: the descriptors, where there is one
/// socket.
pub(in crate::output) fn why_text(
    alike: &VerdictCount,
    fds: &[u32],
    owner: Option<OwnerUnknown>,
) -> String {
    let Some((least, most)) = alike.idle_pool() else {
        return alike.verdict.explain(alike.state, alike.unread, fds, owner);
    };
    let silence = silence_text(least, most);
    if alike.count == 1 {
        return format!(
            "idle pooled connection: it was silent for {silence}, then the server closed it; nobody \
             has read since"
        );
    }
    let them = match is_one_silence(least, most) {
        true => format!("each was silent for {silence}, then the server closed it"),
        false => format!("they were silent for {silence}, then the server closed them"),
    };
    format!("idle pooled connections: {them}; nobody has read since")
}

/// Returns what to do about these sockets; `None` where nothing is to be done, and where no
/// descriptor was found: their process may have closed them.
pub(in crate::output) fn remedy_text(
    alike: &VerdictCount,
    owner: Option<OwnerUnknown>,
) -> Option<Cow<'static, str>> {
    if let Some(OwnerUnknown::NoHolder | OwnerUnknown::NotInspectable) = owner {
        return None;
    }
    let Some((least, _)) = alike.idle_pool() else {
        return alike.verdict.remedy(alike.state, alike.role).map(Cow::from);
    };
    let mut text = "close the session or share one; evict idle connections before ".to_owned();
    push_with_unit(&mut text, least);
    text.push_str(" of silence");
    Some(text.into())
}

fn silence_text(least: Nanos, most: Nanos) -> String {
    let mut text = String::new();
    push_with_unit(&mut text, least);
    if !is_one_silence(least, most) {
        text.push_str(" to ");
        push_with_unit(&mut text, most);
    }
    text
}

pub(in crate::output) fn is_one_silence(least: Nanos, most: Nanos) -> bool {
    (most - least).0 <= most.0 / ALIKE_PART
}
