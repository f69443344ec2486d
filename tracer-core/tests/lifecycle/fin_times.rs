//! When a FIN left that had to wait: the ACK shows when the segment was sent.

use tcpclose_common::TcpState;
use tcpclose_core::finding::{Close, HalfClose, Side};
use tcpclose_core::types::Nanos;

use crate::socket::{Socket, World};

/// The ACK of the FIN is taken, which had left so long ago.
fn fin_left_ago(socket: &mut Socket, ms: u32) {
    socket.evidence.flags.fin_sent_time = true;
    socket.evidence.tcp.sent_ms_ago = ms * 1000 + 1;
}

fn is_over(socket: &mut Socket) {
    socket.evidence.flags.fin_sent_time = false;
    socket.evidence.tcp.sent_ms_ago = 0;
}

/// Data waits for the peer's window, and so does what follows.
fn must_wait(socket: &mut Socket) {
    let tcp = &mut socket.evidence.tcp;
    tcp.write_seq = tcp.write_seq.wrapping_add(1000);
}

fn fin_at(close: &Close) -> Option<Nanos> {
    let fin = close
        .steps
        .iter()
        .find(|step| step.from == Side::Local && step.flags.to_string() == "FIN,ACK");
    fin.expect("a FIN").at
}

/// A client shuts down its side at once, its FIN leaves 400 ms later, and `came` ms after the
/// shutdown 14 bytes come. Then the peer closes, after `answer` bytes more.
fn shut_down(came: Option<u32>, received_ago: u32, answer: u32) -> (Nanos, Close) {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    must_wait(&mut end);
    let began = world.now;
    end.closes(&mut world, TcpState::FinWait1);
    world.pass_ms(410);
    if came.is_some() {
        end.receives(14, 14);
    }
    end.evidence.tcp.received_ms_ago = received_ago + 1;
    end.is_acknowledged();
    fin_left_ago(&mut end, 10);
    end.to(&mut world, TcpState::FinWait2);
    is_over(&mut end);
    world.pass_ms(50);
    if answer > 0 {
        end.receives(answer, answer);
    }
    end.enters_time_wait(&mut world);
    (began, world.close())
}

#[test]
fn a_fin_that_waited_begins_the_half_close_when_it_leaves() {
    let expected = |bytes_received| {
        Some(HalfClose {
            by: Side::Local,
            lasted: Nanos::from_millis(60),
            bytes_sent: 0,
            bytes_received,
        })
    };
    let (began, close) = shut_down(None, 700, 70);
    assert_eq!(close.half_close, expected(70));
    assert_eq!(fin_at(&close), Some(began + Nanos::from_millis(400)));
    // What came before the FIN left does not belong to the half-close.
    let (_, close) = shut_down(Some(200), 210, 0);
    assert_eq!(close.half_close, expected(0));
    // In which order data and FIN passed is not known.
    let (_, close) = shut_down(Some(395), 15, 0);
    assert_eq!(close.half_close, None);
    assert!(fin_at(&close).is_some(), "its time is");
}

#[test]
fn a_fin_that_waited_ends_the_half_close_when_it_leaves() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.acknowledges();
    world.pass_ms(10);
    end.sends(100);
    must_wait(&mut end);
    end.closes(&mut world, TcpState::LastAck);
    world.pass_ms(400);
    end.is_acknowledged();
    fin_left_ago(&mut end, 100);
    end.to(&mut world, TcpState::Close);
    let expected = HalfClose {
        by: Side::Peer,
        lasted: Nanos::from_millis(310),
        bytes_sent: 1100,
        bytes_received: 0,
    };
    assert_eq!(world.close().half_close, Some(expected));
}

/// A peer's FIN that overtakes the local one, which `leaves` after that or never does.
fn overtaken(leaves: bool) -> Close {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    must_wait(&mut end);
    let sent = end.evidence.tcp.snd_nxt;
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.snd_nxt = sent;
    world.pass_ms(30);
    end.receives_fin();
    end.acknowledges();
    end.to(&mut world, TcpState::Closing);
    world.pass_ms(200);
    if leaves {
        end.evidence.tcp.snd_nxt = end.evidence.tcp.write_seq;
        end.is_acknowledged();
        fin_left_ago(&mut end, 50);
    } else {
        end.evidence.tcp.snd_nxt = sent.wrapping_add(300);
        end.evidence.tcp.error = 110;
    }
    end.to(&mut world, TcpState::Close);
    world.close()
}

#[test]
fn a_fin_that_is_overtaken_ends_the_half_close_of_the_peer() {
    let half_close = |ms, bytes_sent| HalfClose {
        by: Side::Peer,
        lasted: Nanos::from_millis(ms),
        bytes_sent,
        bytes_received: 0,
    };
    assert_eq!(overtaken(true).half_close, Some(half_close(150, 1000)));
    assert_eq!(overtaken(false).half_close, Some(half_close(200, 300)));
}

#[test]
fn what_was_sent_again_may_have_been_sent_after_the_fin() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    must_wait(&mut end);
    end.closes(&mut world, TcpState::FinWait1);
    world.pass_ms(400);
    end.evidence.tcp.retransmits += 1;
    end.is_acknowledged();
    fin_left_ago(&mut end, 10);
    end.to(&mut world, TcpState::FinWait2);
    is_over(&mut end);
    end.enters_time_wait(&mut world);
    let close = world.close();
    assert_eq!((fin_at(&close), close.half_close), (None, None));
}

#[test]
fn a_fin_that_left_at_once_has_the_time_of_its_transition() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    let began = world.now;
    end.closes(&mut world, TcpState::FinWait1);
    world.pass_ms(40);
    // The tracer's time and the kernel's are some microseconds apart.
    fin_left_ago(&mut end, 39);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    is_over(&mut end);
    end.enters_time_wait(&mut world);
    assert_eq!(fin_at(&world.close()), Some(began));
}
