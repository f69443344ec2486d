//! Resets of connections that were used again when the peer had closed them, and what only looks
//! like it; and the silence before a close.

use tcpclose_common::TcpState;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{Cause, Close, ClosePath};
use tcpclose_core::types::Nanos;

use crate::socket::{Socket, World, reset_sent};

const EPIPE: u16 = 32;
const ECONNRESET: u16 = 104;
const ETIMEDOUT: u16 = 110;
/// 49.7 days.
const WRAP_MS: u64 = 1 << 32;

fn ms(ms: u64) -> Option<Nanos> {
    Some(Nanos::from_millis(ms))
}

/// The RST of the peer ends the connection.
fn is_reset(world: &mut World, end: &mut Socket) -> Close {
    end.evidence.tcp.error = if end.state == TcpState::CloseWait {
        EPIPE
    } else {
        ECONNRESET
    };
    world.signal(end.id, SignalKind::ResetReceived);
    end.to(world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!(close.path, ClosePath::Reset);
    close
}

/// A client with a request answered, silent since 5 s; the answer came 3 ms after the request.
fn idle_client(world: &mut World) -> Socket {
    let mut end = Socket::client(world, 5);
    end.sends(100);
    end.receives(300, 300);
    world.pass_ms(5_003);
    end.is_silent(5_003, 5_000);
    end
}

/// A server that has answered a request, silent since 5 s.
fn idle_server(world: &mut World) -> Socket {
    let mut end = Socket::server(world, 5);
    end.receives(100, 100);
    end.sends(300);
    world.pass_ms(5_000);
    end.is_silent(5_000, 5_003);
    end
}

/// The peer's FIN comes.
fn is_closed_by_peer(world: &mut World, end: &mut Socket) {
    end.receives_fin();
    end.to(world, TcpState::CloseWait);
    end.acknowledges();
}

#[test]
fn a_client_that_writes_after_the_fin_has_used_a_stale_connection() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    world.pass_ms(460);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!(close.cause, Some(Cause::StaleKeepalive));
    assert_eq!(close.idle, ms(5_000));
    let half_close = close.half_close.unwrap();
    assert_eq!(half_close.bytes_sent, 27);
}

#[test]
fn a_client_that_also_closes_before_the_reset_has_used_a_stale_connection() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    end.closes(&mut world, TcpState::LastAck);
    let close = is_reset(&mut world, &mut end);
    assert_eq!(close.cause, Some(Cause::StaleKeepalive));
}

#[test]
fn a_connection_that_was_never_used_can_be_stale() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    world.pass_ms(60_000);
    end.is_silent(60_000, 60_000);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!(close.cause, Some(Cause::StaleKeepalive));
    assert_eq!(close.idle, ms(60_000));
}

#[test]
fn a_server_that_speaks_unasked_after_the_fin_has_used_a_stale_connection() {
    let mut world = World::new();
    let mut end = idle_server(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!(close.cause, Some(Cause::StaleKeepalive));
}

#[test]
fn a_server_whose_client_did_not_wait_for_the_answer_has_not() {
    // The last data was the client's: an answer is due. In one tick, too, that may be.
    for (sent, received) in [(9_000, 5_000), (5_000, 5_000)] {
        let mut world = World::new();
        let mut end = idle_server(&mut world);
        end.is_silent(sent, received);
        is_closed_by_peer(&mut world, &mut end);
        end.writes(27);
        let close = is_reset(&mut world, &mut end);
        assert_eq!(close.cause, None);
        assert_eq!(close.idle, ms(5_000));
    }
}

#[test]
fn a_client_without_an_answer_has_not_used_the_connection_again() {
    // A request of which the server has read a part, and then refused to go on.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.sends(100);
    end.is_silent(20, 5_000);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!((close.cause, close.idle), (None, ms(20)));
}

#[test]
fn an_upload_that_is_answered_before_its_end_was_not_idle() {
    // The answer is there, and more of the request follows.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.sends(1000);
    end.receives(50, 0);
    end.is_silent(100, 0);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(1000);
    assert_eq!(is_reset(&mut world, &mut end).cause, None);

    // A server with TLS sends its close_notify before it closes the idle connection.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.receives(31, 0);
    end.is_silent(5_003, 0);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!(close.cause, Some(Cause::StaleKeepalive));
    assert_eq!(close.idle, ms(0), "that is data");
}

#[test]
fn a_reset_without_data_after_the_fin_has_another_cause() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    assert_eq!(is_reset(&mut world, &mut end).cause, None);

    // The FIN alone was answered.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.closes(&mut world, TcpState::LastAck);
    assert_eq!(is_reset(&mut world, &mut end).cause, None);

    // The data waits in the socket: the peer's window is closed.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(27);
    assert_eq!(is_reset(&mut world, &mut end).cause, None);
}

#[test]
fn a_peer_that_takes_data_after_its_fin_had_closed_one_direction_only() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.sends(1000);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!(close.cause, None);

    // And without a reset nothing is wrong.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.sends(1000);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.path.is_abnormal(), close.cause), (Some(false), None));
    assert_eq!(close.idle, ms(5_000));
}

#[test]
fn an_abort_of_this_host_after_the_fin_is_its_own() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    end.evidence.flags.linger_zero = true;
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    world.pass_ms(20);
    assert_eq!(world.close().cause, Some(Cause::Linger));
}

#[test]
fn data_that_passed_the_fin_is_a_crossed_keepalive() {
    for closes in [false, true] {
        let mut world = World::new();
        let mut end = idle_client(&mut world);
        end.writes(27);
        end.is_silent(20, 5_000);
        end.evidence.flags.peer_saw_silence = true;
        is_closed_by_peer(&mut world, &mut end);
        // More, after the FIN.
        end.writes(100);
        if closes {
            end.closes(&mut world, TcpState::LastAck);
        }
        let close = is_reset(&mut world, &mut end);
        assert_eq!(close.cause, Some(Cause::CrossedKeepalive));
        assert_eq!(
            close.idle,
            ms(5_000),
            "the data came after the FIN had left"
        );
    }
}

#[test]
fn data_on_the_way_of_a_connection_that_was_not_idle_is_no_crossed_keepalive() {
    // An upload that the server ends: what the FIN echoes is not that old.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.writes(27);
    end.is_silent(20, 5_000);
    is_closed_by_peer(&mut world, &mut end);
    let close = is_reset(&mut world, &mut end);
    assert_eq!((close.cause, close.idle), (None, ms(20)));

    // A server's answer to a client that has gone.
    let mut world = World::new();
    let mut end = idle_server(&mut world);
    end.writes(1000);
    end.is_silent(20, 5_000);
    end.evidence.flags.peer_saw_silence = true;
    is_closed_by_peer(&mut world, &mut end);
    assert_eq!(is_reset(&mut world, &mut end).cause, None);

    // The peer takes the data after all: it has closed one direction only.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.writes(27);
    end.is_silent(20, 5_000);
    end.evidence.flags.peer_saw_silence = true;
    is_closed_by_peer(&mut world, &mut end);
    end.is_acknowledged();
    assert_eq!(is_reset(&mut world, &mut end).cause, None);
}

#[test]
fn a_close_with_lost_records_proves_no_race() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    // →LAST_ACK was lost.
    end.state = TcpState::LastAck;
    let close = is_reset(&mut world, &mut end);
    assert_eq!((close.cause, close.idle), (None, ms(5_000)));

    // →CLOSE_WAIT was lost.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.receives_fin();
    end.state = TcpState::CloseWait;
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!((close.cause, close.idle), (None, None));
}

#[test]
fn a_kernel_or_recording_without_the_times_proves_no_race() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.evidence.tcp.sent_ms_ago = 0;
    end.evidence.tcp.received_ms_ago = 0;
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!((close.cause, close.idle), (None, None));
}

#[test]
fn the_silence_is_that_of_both_directions() {
    for (sent, received, idle) in [(9_000, 700, 700), (700, 9_000, 700), (0, 9_000, 0)] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.is_silent(sent, received);
        end.closes_first(&mut world);
        end.enters_time_wait(&mut world);
        assert_eq!(world.close().idle, ms(idle));
    }
}

#[test]
fn the_silence_before_an_abort_is_known_and_before_giving_up_not() {
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.evidence.flags.linger_zero = true;
    end.closes(&mut world, TcpState::Close);
    world.signal(5, reset_sent(None));
    world.pass_ms(20);
    assert_eq!(world.close().idle, ms(5_000));

    // No FIN and no RST were sent.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.evidence.tcp.error = ETIMEDOUT;
    end.to(&mut world, TcpState::Close);
    world.pass_ms(20);
    let close = world.close();
    assert_eq!((close.path, close.idle), (ClosePath::Timeout, None));
}

#[test]
fn the_silence_is_unknown_while_data_may_have_been_sent_again_or_waits() {
    // Not acknowledged, and something was sent again.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.writes(27);
    end.is_silent(20, 5_000);
    end.evidence.tcp.retransmits = 1;
    is_closed_by_peer(&mut world, &mut end);
    assert_eq!(is_reset(&mut world, &mut end).idle, None);

    // The FIN waits behind data.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(27);
    end.closes(&mut world, TcpState::FinWait1);
    assert_eq!(is_reset(&mut world, &mut end).idle, None);

    // The FIN had come before the data that filled a hole.
    let mut world = World::new();
    let mut end = idle_client(&mut world);
    end.is_silent(5_003, 0);
    end.evidence.tcp.out_of_order = 1;
    is_closed_by_peer(&mut world, &mut end);
    assert_eq!(is_reset(&mut world, &mut end).idle, None);
}

#[test]
fn a_counter_that_may_have_wrapped_shows_no_silence() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    world.pass_ms(WRAP_MS);
    end.is_silent(10, 10);
    is_closed_by_peer(&mut world, &mut end);
    assert_eq!(is_reset(&mut world, &mut end).idle, None);
}

#[test]
fn a_restored_connection_shows_no_silence() {
    let mut world = World::new();
    let mut end = Socket::restoring(&mut world, 5);
    end.to(&mut world, TcpState::Established);
    end.evidence.flags.repair = false;
    world.pass_ms(5_000);
    end.is_silent(5_000, 5_000);
    is_closed_by_peer(&mut world, &mut end);
    end.writes(27);
    let close = is_reset(&mut world, &mut end);
    assert_eq!((close.cause, close.idle), (None, None));
}
