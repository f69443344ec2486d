//! What scans make of sockets in other states than CLOSE_WAIT, and of silences before a FIN.

use super::*;

fn ago(seconds: u64) -> Option<Nanos> {
    Some(Nanos::from_secs(seconds))
}

/// A socket in this state; the peer was last heard `ack` seconds ago, its last data came `data` and
/// the own went `sent` seconds ago.
fn in_state(state: TcpState, ack: u64, data: Option<u64>, sent: Option<u64>) -> ObservedSocket {
    let socket = socket(1, ack);
    ObservedSocket {
        state,
        activity: socket.activity.map(|activity| Activity {
            since_data: data.map(Nanos::from_secs),
            since_sent: sent.map(Nanos::from_secs),
            ..activity
        }),
        ..socket
    }
}

fn unanswered(kind: UnansweredKind, count: u8, seconds: Option<u64>) -> Option<Unanswered> {
    Some(Unanswered {
        kind,
        count,
        at_least: seconds.map(Nanos::from_secs),
    })
}

/// A socket whose FIN was sent again for so many seconds.
fn resending(state: TcpState, seconds: u64) -> ObservedSocket {
    ObservedSocket {
        inode: None,
        unsent: 1,
        unanswered: unanswered(UnansweredKind::Retransmissions, 8, Some(seconds)),
        ..in_state(state, 100, Some(90), None)
    }
}

fn age(socket: ObservedSocket) -> (Nanos, Option<Nanos>) {
    let age = Age::from_observation(&socket, NOW);
    (NOW - age.since, age.earliest.map(|earliest| NOW - earliest))
}

#[test]
fn each_state_has_its_age() {
    use TcpState::{Closing, Established, FinWait1, FinWait2, LastAck};
    let seconds = Nanos::from_secs;
    // The ACK of the own FIN came, or something later; the FIN came after the last data.
    let half_closed = in_state(FinWait2, 70, Some(80), Some(95));
    assert_eq!(age(half_closed), (seconds(70), ago(95)));
    let crossed = in_state(Closing, 70, Some(80), Some(95));
    assert_eq!(age(crossed), (seconds(70), ago(80)));
    assert_eq!(age(resending(LastAck, 75)), (seconds(75), ago(90)));
    assert_eq!(age(resending(FinWait1, 75)), (seconds(75), None));
    // Without a timer that shows it nothing is certain.
    let just_closed = in_state(FinWait1, 500, Some(500), Some(500));
    assert_eq!(age(just_closed).0, Nanos(0));
    let unread = ObservedSocket {
        unsent: 9,
        ..in_state(FinWait1, 2, Some(500), Some(80))
    };
    assert_eq!(age(unread), (seconds(80), None));
    let silent = in_state(Established, 700, Some(800), Some(900));
    assert_eq!(age(silent), (seconds(700), ago(700)));
}

#[test]
fn each_state_has_its_verdicts() {
    use TcpState::{Closing, FinWait1, FinWait2, LastAck};
    let half_closed = in_state(FinWait2, 70, Some(80), Some(95));
    assert_eq!(verdict(half_closed), Verdict::HalfClosed);
    let receiving = in_state(FinWait2, 70, Some(30), Some(95));
    assert_eq!(verdict(receiving), Verdict::StillReceiving);
    for state in [FinWait1, Closing, LastAck] {
        assert_eq!(verdict(resending(state, 75)), Verdict::Unanswered);
    }
    let unread = ObservedSocket {
        unsent: 9,
        ..in_state(FinWait1, 2, None, Some(80))
    };
    assert_eq!(verdict(unread), Verdict::PeerNotReading);
}

#[test]
fn only_certain_ones_are_stuck() {
    let mut uncertain = vec![
        Verdict::Silent,
        Verdict::StillSending,
        Verdict::StillReceiving,
    ];
    for verdict in <Verdict as strum::VariantArray>::VARIANTS {
        let place = uncertain.iter().position(|one| one == verdict);
        assert_eq!(verdict.is_stuck(), place.is_none(), "{verdict}");
        place.map(|place| uncertain.remove(place));
    }
    assert_eq!(uncertain, []);
}

#[test]
fn established_connections_are_dead_or_silent() {
    let silent = in_state(TcpState::Established, 700, Some(800), Some(900));
    let long = Nanos::from_secs(600);
    assert!(silent.may_be_dead(long) && !silent.may_be_dead(Nanos::from_secs(701)));
    assert_eq!(verdict(silent), Verdict::Silent);
    // A timer will find out.
    let guarded = ObservedSocket {
        keepalive: true,
        ..silent
    };
    assert!(!guarded.may_be_dead(long));
    // It has begun to.
    let probed = ObservedSocket {
        unanswered: unanswered(UnansweredKind::KeepaliveProbes, 3, None),
        ..guarded
    };
    assert!(probed.may_be_dead(long));
    assert_eq!(verdict(probed), Verdict::Unanswered);
    // One that is on its way proves nothing.
    let probing = ObservedSocket {
        unanswered: unanswered(UnansweredKind::KeepaliveProbes, 1, None),
        ..in_state(TcpState::Established, 30, Some(30), None)
    };
    assert_eq!(once(probing).old, []);
    let writing = in_state(TcpState::Established, 700, Some(800), Some(5));
    assert!(!writing.may_be_dead(long));
    assert!(!in_state(TcpState::CloseWait, 700, None, None).may_be_dead(long));
    let unaccepted = ObservedSocket {
        inode: None,
        ..silent
    };
    assert_eq!(verdict(unaccepted), Verdict::NotAccepted);
}

#[test]
fn the_kernel_ends_what_was_closed_in_fin_wait2() {
    let held = in_state(TcpState::FinWait2, 70, None, None);
    assert!(held.can_be_stuck());
    let orphan = ObservedSocket {
        inode: None,
        ..held
    };
    assert!(orphan.is_orphan() && !orphan.can_be_stuck() && !orphan.waits_for_accept());
    assert!(resending(TcpState::LastAck, 9).can_be_stuck());
    assert!(!in_state(TcpState::SynSent, 9, None, None).can_be_stuck());
}

#[test]
fn another_state_begins_anew() {
    let mut scans = ScanHistory::default();
    let first = scans.add(vec![socket(1, 100)], NOW, MINUTE);
    assert_eq!(first.old.len(), 1);
    let closed = resending(TcpState::LastAck, 4);
    let second = scans.add(vec![closed], after(10), MINUTE);
    assert_eq!((second.old.len(), second.younger), (0, 0));
    assert_eq!(
        second.gone,
        [EndpointId(1)],
        "it is in CLOSE_WAIT no longer"
    );
    let closed = resending(TcpState::LastAck, 64);
    let third = scans.add(vec![closed], after(70), MINUTE);
    let events: Vec<_> = third.old.iter().map(|stuck| stuck.event).collect();
    assert_eq!(events, [StuckEvent::Opened]);
    assert_eq!(third.gone, []);
}

#[test]
fn the_silence_before_the_fin_is_that_of_the_last_data_either_way() {
    let idle = |socket: ObservedSocket| once(socket).old[0].idle_before_fin;
    let close_wait = |ack, data, sent| in_state(TcpState::CloseWait, ack, data, sent);
    assert_eq!(idle(close_wait(70, Some(75), Some(76))), ago(5));
    assert_eq!(idle(close_wait(70, Some(90), Some(78))), ago(8));
    assert_eq!(idle(close_wait(70, Some(75), None)), ago(5));
    // Data and FIN came together.
    assert_eq!(idle(close_wait(70, Some(70), None)), ago(0));
    // Nothing ever moved; bytes went out since; bytes are on their way; answers to keepalive
    // probes hide when the FIN came; another state.
    assert_eq!(idle(close_wait(70, None, None)), None);
    assert_eq!(idle(close_wait(70, Some(75), Some(65))), None);
    let mut hidden = close_wait(70, Some(75), Some(76));
    hidden.unsent = 4;
    assert_eq!(idle(hidden), None);
    hidden.unsent = 0;
    hidden.keepalive = true;
    assert_eq!(idle(hidden), None);
    // Not where the tracer saw the FIN come.
    hidden.entered = Some(NOW - Nanos::from_secs(73));
    assert_eq!(idle(hidden), ago(2));
    assert_eq!(
        idle(in_state(TcpState::FinWait2, 70, Some(75), Some(76))),
        None
    );
}

#[test]
fn idle_connections_of_a_pool_differ_from_code_that_stopped() {
    // The server closed after five seconds of silence, and the FIN alone is unread.
    let pooled = |id| ObservedSocket {
        id: EndpointId(id),
        queued: 1,
        ..in_state(TcpState::CloseWait, 70, Some(75), Some(76))
    };
    let pool = |role, sockets: Vec<ObservedSocket>| {
        let mut stuck = ScanHistory::default().add(sockets, NOW, MINUTE).old;
        for stuck in &mut stuck {
            stuck.endpoint.role = role;
        }
        let groups = by_owner(&stuck);
        assert_eq!(groups[0].verdicts.len(), 1);
        groups[0].verdicts[0].idle_pool()
    };
    let both = || vec![pooled(1), pooled(2)];
    assert_eq!(pool(Role::Client, both()), ago(5).zip(ago(5)));
    assert_eq!(pool(Role::Server, both()), None);
    assert_eq!(pool(Role::Unknown, both()), None);
    // Bytes were left unread: the code stopped, or lost interest.
    let mut unread = both();
    unread[1].queued = 6;
    assert_eq!(pool(Role::Client, unread), None);
    // The server closed right after its answer.
    let mut at_once = both();
    at_once[0].activity = in_state(TcpState::CloseWait, 70, Some(70), Some(71)).activity;
    assert_eq!(pool(Role::Client, at_once), None);
    let mut unknown = both();
    unknown[0].activity = None;
    unknown[0].entered = Some(NOW - Nanos::from_secs(70));
    assert_eq!(pool(Role::Client, unknown), None);
}
