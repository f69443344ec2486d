//! What stuck sockets have still to send, in words.

use crate::output::duration::push_with_unit;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::types::Nanos;

/// Returns why the bytes of these sockets do not get to their peers; `None` where none are left, or
/// where they move.
pub(in crate::output) fn unsent<'a>(
    sockets: impl IntoIterator<Item = &'a StuckSocket>,
) -> Option<String> {
    let (mut bytes, mut peers, mut closed) = (0, 0, None::<Nanos>);
    let stuck = sockets.into_iter().filter(|stuck| stuck.is_stuck());
    for socket in stuck
        .map(|stuck| &stuck.socket)
        .filter(|socket| socket.unsent > 0)
    {
        bytes += u64::from(socket.unsent);
        peers += 1;
        closed = closed.max(socket.peer_reads_nothing_for());
    }
    let (bytes, wait, are) = match bytes {
        0 => return None,
        1 => ("1 byte".to_owned(), "waits", "is"),
        bytes => (format!("{bytes} bytes"), "wait", "are"),
    };
    let Some(closed) = closed else {
        return Some(format!("{bytes} {are} not acknowledged by the peer"));
    };
    let mut text = match peers {
        1 => "the peer has not read for ".to_owned(),
        peers => format!("{peers} peers take nothing, one has not read for "),
    };
    push_with_unit(&mut text, closed);
    text.push_str(&format!("; {bytes} {wait}"));
    Some(text)
}
