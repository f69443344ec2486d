//! Why connections end abnormally, and what only looks like it.

use tcpclose_common::TcpState;
use tcpclose_core::MinisocketState;
use tcpclose_core::event::{SignalKind, Task};
use tcpclose_core::finding::{Cause, Close, ClosePath, Lost};
use tcpclose_core::types::Nanos;

use crate::socket::{Socket, World, reset_sent, task, tuple};

const EHOSTUNREACH: u16 = 113;
const ECONNREFUSED: u16 = 111;
const ETIMEDOUT: u16 = 110;
const ECONNRESET: u16 = 104;
const EPROTO: u16 = 71;
const ECONNABORTED: u16 = 103;

/// A connect() that fails with this `sk_err`, after `segs_in` segments; the peer's RST is seen or
/// not.
fn failed_connect(port: Option<u16>, error: u16, segs_in: u32, reset: bool) -> Close {
    let mut world = World::new();
    let mut end = Socket::connecting(&mut world, 5);
    end.tuple = tuple(port.unwrap_or(0), 3306);
    end.evidence.tcp.error = error;
    end.evidence.tcp.segs_in = segs_in;
    if reset {
        world.signal(5, SignalKind::ResetReceived);
    }
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(close.path, ClosePath::ConnectFailed);
    assert_eq!(close.connect_error, (error != 0).then_some(error));
    close
}

#[test]
fn a_failed_connect_has_the_cause_that_its_error_proves() {
    let port = Some(40_000);
    for (port, error, segs_in, reset, cause) in [
        (port, ECONNREFUSED, 1, true, Some(Cause::Refused)),
        (port, ECONNREFUSED, 0, false, Some(Cause::Unreachable)),
        (port, EHOSTUNREACH, 0, false, Some(Cause::Unreachable)),
        (port, ETIMEDOUT, 0, false, Some(Cause::ConnectTimeout)),
        (None, 0, 0, false, Some(Cause::NoLocalPort)),
        // An answer that the kernel did not take, and errors that are about something else.
        (port, ETIMEDOUT, 1, false, None),
        (port, EPROTO, 0, false, None),
        // The RST's record was lost, or ICMP came after another segment.
        (port, ECONNREFUSED, 1, false, None),
        // The program closed the socket while connect() was under way.
        (port, 0, 0, false, None),
        // SOCK_DESTROY.
        (port, ECONNABORTED, 0, false, None),
    ] {
        let close = failed_connect(port, error, segs_in, reset);
        assert_eq!(close.cause, cause, "errno {error}");
    }
}

#[test]
fn a_restored_connection_that_fails_had_no_lack_of_ports() {
    let mut world = World::new();
    let mut end = Socket::restoring(&mut world, 5);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    assert_eq!(world.close().cause, None);
}

#[test]
fn a_reset_of_this_host_has_the_cause_of_its_abort() {
    let abort = |prepare: fn(&mut Socket), reason| {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        prepare(&mut end);
        end.closes(&mut world, TcpState::Close);
        world.signal(5, reset_sent(reason));
        world.pass_ms(20);
        world.close().cause
    };
    let unread = abort(|end| end.receives(5, 0), Some("TCP_ABORT_ON_CLOSE"));
    assert_eq!(unread, Some(Cause::UnreadData));
    let linger = abort(|end| end.evidence.flags.linger_zero = true, None);
    assert_eq!(linger, Some(Cause::Linger));
    let disconnect = abort(|end| end.evidence.flags.lock_owned = true, None);
    assert_eq!(disconnect, None, "the program's own choice is no cause");
}

/// A task whose process is past exit(), or is not, as far as the kernel shows it.
fn exiting(exits: Option<bool>) -> Option<Task> {
    Some(Task {
        exits,
        ..task(88, "closer")
    })
}

#[test]
fn what_an_exit_had_not_read_or_came_after_it_has_the_exit_as_its_cause() {
    let abort = |exits, prepare: fn(&mut Socket)| {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        prepare(&mut end);
        end.task = exiting(exits);
        end.to(&mut world, TcpState::Close);
        world.signal(5, reset_sent(None));
        world.pass_ms(20);
        world.close().cause
    };
    let unread: fn(&mut Socket) = |end| end.receives(5, 0);
    assert_eq!(abort(Some(true), unread), Some(Cause::ProcessExited));
    assert_eq!(abort(Some(false), unread), Some(Cause::UnreadData));
    // The kernel does not show it.
    assert_eq!(abort(None, unread), Some(Cause::UnreadData));
    let linger: fn(&mut Socket) = |end| end.evidence.flags.linger_zero = true;
    assert_eq!(abort(Some(true), linger), Some(Cause::Linger));

    let data_after_fin = |exits| {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.flags.dead = true;
        end.task = exiting(exits);
        end.to(&mut world, TcpState::FinWait1);
        end.task = None;
        end.is_acknowledged();
        end.to(&mut world, TcpState::FinWait2);
        end.evidence.tcp.error = ECONNRESET;
        world.signal(5, SignalKind::ResetReceived);
        end.to(&mut world, TcpState::Close);
        world.signal(5, reset_sent(None));
        world.pass_ms(20);
        world.close().cause
    };
    assert_eq!(data_after_fin(Some(true)), Some(Cause::ProcessExited));
    assert_eq!(data_after_fin(Some(false)), Some(Cause::DataAfterClose));
}

#[test]
fn an_exit_is_no_cause_of_the_peers_reset_nor_of_an_orderly_close() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.task = exiting(Some(true));
    end.to(&mut world, TcpState::LastAck);
    end.task = None;
    end.evidence.tcp.error = ECONNRESET;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!((close.path, close.cause), (ClosePath::Reset, None));

    let mut orderly = Socket::client(&mut world, 6);
    orderly.task = exiting(Some(true));
    orderly.to(&mut world, TcpState::FinWait1);
    orderly.task = None;
    orderly.is_acknowledged();
    orderly.to(&mut world, TcpState::FinWait2);
    orderly.enters_time_wait(&mut world);
    assert_eq!(world.close().cause, None);
}

#[test]
fn what_an_abnormal_close_destroyed_is_known_as_far_as_the_socket_shows_it() {
    let lost = |unacknowledged, unread| {
        Some(Lost {
            unacknowledged,
            unread,
        })
    };
    let reset_by_peer = |state: Option<TcpState>| {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.sends(10);
        end.receives(5, 0);
        end.writes(27);
        if let Some(state) = state {
            end.closes(&mut world, state);
        }
        end.evidence.tcp.error = ECONNRESET;
        world.signal(5, SignalKind::ResetReceived);
        end.to(&mut world, TcpState::Close);
        world.pass_ms(20);
        world.close().lost
    };
    // What was received can still be read.
    assert_eq!(reset_by_peer(None), lost(27, Some(0)));
    // The FIN is no data.
    assert_eq!(reset_by_peer(Some(TcpState::FinWait1)), lost(27, Some(0)));

    let mut world = World::new();
    let mut abort = Socket::server(&mut world, 5);
    abort.receives(5, 0);
    abort.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(Some("TCP_ABORT_ON_CLOSE")));
    world.pass_ms(20);
    assert_eq!(world.close().lost, lost(0, None));

    let mut orderly = Socket::client(&mut world, 6);
    orderly.sends(10);
    orderly.closes_first(&mut world);
    orderly.enters_time_wait(&mut world);
    assert_eq!(world.close().lost, None);
    assert_eq!(
        failed_connect(Some(40_000), ECONNREFUSED, 1, true).lost,
        None
    );
}

#[test]
fn what_the_peer_did_is_no_cause_of_its_reset() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.linger_zero = true;
    end.receives(5, 0);
    end.evidence.tcp.error = ECONNRESET;
    world.signal(5, SignalKind::ResetReceived);
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.path, close.cause), (ClosePath::Reset, None));
}

#[test]
fn a_fin_wait2_that_is_given_up_had_a_peer_that_never_closed() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.flags.dead = true;
    end.closes_first(&mut world);
    end.to(&mut world, TcpState::Close);
    world.pass_ms(100);
    world.answer(MinisocketState::FinWait2(Nanos::from_millis(500)));
    world.pass_ms(600);
    world.answer(MinisocketState::Gone);
    let close = world.close();
    assert_eq!(close.path, ClosePath::Timeout);
    assert_eq!(close.cause, Some(Cause::PeerNeverClosed));
}

#[test]
fn a_peer_that_acknowledges_nothing_leaves_the_timer_open() {
    // tcp_retries2, TCP_USER_TIMEOUT or the window's probes: the evidence does not tell.
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.error = ETIMEDOUT;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.path, close.cause), (ClosePath::Timeout, None));
}

#[test]
fn keepalive_probes_without_an_answer_are_the_cause() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    world.pass_ms(1000);
    world.signal(5, reset_sent(Some("TCP_KEEPALIVE_TIMEOUT")));
    end.evidence.tcp.error = ETIMEDOUT;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(close.cause, Some(Cause::KeepaliveTimeout));
}

#[test]
fn an_orderly_close_has_no_cause() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!((close.path.is_abnormal(), close.cause), (Some(false), None));
}
