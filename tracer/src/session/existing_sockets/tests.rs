//! The order in which records and sockets reach the core.

use super::*;
use tcpclose_common::TcpState;
use tcpclose_core::event::{Signal, SignalKind};
use tcpclose_core::types::{EndpointId, NetNs, Tuple};
use tcpclose_core::{SnapshotSocket, SocketKind};

/// Steps whose thread answers with one socket each, and finds nothing out.
fn learning() -> ExistingSockets {
    let make_work = || -> Work<SearchStep, SearchResult> {
        Box::new(|step| SearchResult {
            parts: vec![SnapshotPart {
                at: Nanos(1),
                sockets: vec![socket(1 + *step as u64)],
            }],
            ..SearchResult::default()
        })
    };
    let thread = ProbeThread::start("existing", make_work, given_up);
    ExistingSockets::new(thread.expect("a thread"), 2, Nanos(u64::MAX))
}

fn socket(cookie: u64) -> SnapshotSocket {
    let end = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
    SnapshotSocket {
        cookie: EndpointId(cookie),
        netns: NetNs::new(1).expect("it is not 0"),
        tuple: Tuple::from((end(80), end(cookie as u16))),
        state: TcpState::Established,
        kind: SocketKind::Full,
        owner: None,
    }
}

fn record(id: u64) -> Event {
    Event::Signal(Signal {
        at: Nanos(5),
        id: EndpointId(id),
        kind: SignalKind::FinRetransmitted,
    })
}

/// Waits for this number of inputs: `s` and the cookies of a snapshot, `e` and the id of an
/// event.
fn inputs(learning: &mut ExistingSockets, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    for _ in 0..10_000 {
        learning.advance(now(), &mut |input| taken.push(text(&input)));
        if taken.len() >= count {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    taken
}

fn text(input: &Input) -> String {
    match input {
        Input::Snapshot { sockets, .. } => {
            let cookies: Vec<_> = sockets.iter().map(|it| it.cookie.0.to_string()).collect();
            format!("s{}", cookies.join(","))
        }
        Input::Event(Event::Signal(signal)) => format!("e{}", signal.id.0),
        other => format!("{other:?}"),
    }
}

#[test]
fn records_are_kept_back_until_all_is_known() {
    let mut learning = learning();
    let nothing: TakeInput<'_> = &mut |input| panic!("{input:?} must wait");
    learning.take_event(record(7), nothing);
    learning.thread.submit(SearchStep::Sockets);
    learning.thread.submit(SearchStep::Owners);
    assert_eq!(inputs(&mut learning, 3), ["s1", "s2", "e7"]);
    assert!(learning.is_done());
    let mut passed = Vec::new();
    learning.take_event(record(8), &mut |input| passed.push(text(&input)));
    assert_eq!(passed, ["e8"]);
}

#[test]
fn records_are_not_kept_back_for_long() {
    let mut learning = learning();
    learning.take_event(record(7), &mut |_| {});
    learning.stop_keeping_back();
    assert_eq!(inputs(&mut learning, 1), ["e7"]);
    assert!(!learning.is_done());
    learning.thread.submit(SearchStep::Sockets);
    learning.thread.submit(SearchStep::SocketsByDescriptor);
    assert_eq!(inputs(&mut learning, 1), ["s1"]);
    assert_eq!(inputs(&mut learning, 1), ["s3"]);
    assert!(learning.is_done());
}

#[test]
fn no_more_records_are_kept_back_than_there_is_room_for() {
    let mut learning = learning();
    let mut passed = 0;
    for _ in 0..MAX_KEPT_BACK {
        assert_eq!(passed, 0);
        learning.take_event(record(7), &mut |_| passed += 1);
    }
    assert_eq!(passed, MAX_KEPT_BACK);
    assert!(!learning.keeps_back());
}

#[test]
fn a_large_part_is_passed_on_in_pieces() {
    let sockets: Vec<_> = (0..2 * MAX_SOCKETS_AT_ONCE as u64 + 1)
        .map(socket)
        .collect();
    let pieces = slices(SnapshotPart {
        at: Nanos(1),
        sockets,
    });
    let lengths: Vec<_> = pieces.map(|piece| piece.sockets.len()).collect();
    assert_eq!(lengths, [MAX_SOCKETS_AT_ONCE, MAX_SOCKETS_AT_ONCE, 1]);
}
