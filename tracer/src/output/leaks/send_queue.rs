//! The send queues of stuck sockets, in words.

use crate::output::duration::push_with_unit;
use crate::plural::plural;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::types::Nanos;

/// Returns why the bytes of these sockets do not get to their peers; `None` where none are left, or
/// where they move.
pub(in crate::output) fn send_queue_text<'a>(
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
        closed = closed.max(socket.peer_window_closed_for());
    }
    if bytes == 0 {
        return None;
    }
    let waiting = format!("{bytes} {}", plural(bytes, "byte", "bytes"));
    let Some(closed) = closed else {
        let are = plural(bytes, "is", "are");
        return Some(format!("{waiting} {are} not acknowledged by the peer"));
    };
    let mut text = match peers {
        1 => "the peer has not read for ".to_owned(),
        peers => format!("{peers} peers do not read; the longest has not read for "),
    };
    push_with_unit(&mut text, closed);
    text.push_str(&format!("; {waiting} {}", plural(bytes, "waits", "wait")));
    Some(text)
}
