//! Closes of which the evidence leaves something open: what is reported, and what is not.

use tcpclose_common::TcpState;
use tcpclose_core::finding::{ClosePath, Finding, Initiator, Side};
use tcpclose_core::types::{Certainty, Role};

use crate::scenarios::{states, steps};
use crate::socket::{Socket, World, reset_sent};

#[test]
fn a_fin_behind_unread_data_has_no_sure_number() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives(10, 0);
    end.rcv_wup = end.rcv_wup.wrapping_sub(10); // not yet acknowledged
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.read_up_to = end.read_up_to.wrapping_add(10);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(steps(&world.close())[0], "peer FIN,ACK - 1");
}

#[test]
fn a_missing_transition_makes_the_path_unknown_and_no_entry_stays() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 5);
    end.receives_fin();
    end.state = TcpState::CloseWait; // nobody saw it
    end.acknowledges();
    world.pass_ms(5);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::Unknown, Initiator::Peer)
    );
    assert_eq!(close.segments, None);
    assert_eq!(
        states(&close),
        [("CLOSE_WAIT", None), ("LAST_ACK", Some(0))]
    );
    assert_eq!(world.tracker.live(), 0);
}

#[test]
fn a_connection_older_than_the_tracer_reports_it_and_keeps_what_is_sure() {
    let mut world = World::new();
    let mut elsewhere = World::new();
    let mut end = Socket::server(&mut elsewhere, 5);
    end.receives(10, 10);
    end.acknowledges();
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert!(!close.endpoint.seen_from_start);
    assert_eq!(
        (close.endpoint.opened, close.endpoint.lifetime),
        (None, None)
    );
    assert_eq!((close.path, close.segments), (ClosePath::ThreeWay, Some(3)));
    assert_eq!(
        steps(&close),
        ["peer FIN,ACK 11 -", "local FIN,ACK - 12", "peer ACK 12 -"]
    );
    assert_eq!((close.bytes.sent, close.bytes.received), (None, Some(10)));
    assert_eq!(states(&close)[0], ("ESTABLISHED", None));
}

#[test]
fn what_was_sent_again_and_not_seen_leaves_the_count_open() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.evidence.tcp.retransmits = 1;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.path, close.segments), (ClosePath::ThreeWay, None));
}

#[test]
fn a_last_ack_that_came_with_something_sent_again_is_inferred() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes(&mut world, TcpState::FinWait1);
    end.receives_fin();
    end.acknowledges();
    end.to(&mut world, TcpState::Closing);
    end.is_acknowledged();
    end.evidence.tcp.snd_wl1 = end.evidence.tcp.rcv_nxt.wrapping_sub(1); // the peer's FIN again
    end.to(&mut world, TcpState::Close);
    assert_eq!(steps(&world.close())[3], "~peer ACK 1 2");
}

#[test]
fn without_evidence_only_what_the_states_prove_is_reported() {
    let mut world = World::new();
    let mut end = Socket::server(&mut world, 0xffff_8880_0000_1000);
    end.classic = true;
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.to(&mut world, TcpState::Close);
    let mut findings = world.findings();
    let Some(Finding::Close(close)) = findings.pop() else {
        panic!()
    };
    assert_eq!(
        (close.path, close.initiator, close.segments),
        (ClosePath::Unknown, Initiator::Peer, None)
    );
    assert_eq!(close.endpoint.id.0, 1, "no cookie: a number of our own");
    assert!(
        close
            .steps
            .iter()
            .all(|step| step.known == Certainty::Inferred && step.seq.is_none())
    );
    assert_eq!(
        (close.bytes.sent, close.bytes.received, close.retransmits),
        (None, None, None)
    );
}

#[test]
fn a_peer_whose_fin_comes_while_ours_waits_for_the_window_closed_first() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(1000); // the window is closed
    let sent = end.evidence.tcp.snd_nxt;
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.snd_nxt = sent;
    end.receives_fin();
    end.acknowledges();
    end.to(&mut world, TcpState::Closing);
    end.evidence.tcp.snd_nxt = end.evidence.tcp.write_seq;
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(
        (close.path, close.initiator),
        (ClosePath::FourWay, Initiator::Peer)
    );
    assert_eq!(
        steps(&close),
        [
            "peer FIN,ACK 1 1",
            "local ACK 1 2",
            "local FIN,ACK - 2",
            "peer ACK 2 1002"
        ]
    );
}

#[test]
fn a_fin_behind_data_in_flight_shows_what_it_acknowledges_when_nothing_else_came() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(5);
    end.evidence.tcp.snd_nxt = end.evidence.tcp.write_seq; // sent, not yet acknowledged
    end.closes(&mut world, TcpState::FinWait1);
    end.receives_fin();
    end.acknowledges();
    end.to(&mut world, TcpState::Closing);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(steps(&world.close())[0], "local FIN,ACK 6 1");
}

#[test]
fn an_answer_that_waited_is_reported_by_what_went_out_in_all() {
    // Bytes that waited; segments sent after the FIN was queued, besides the FIN's own; segments
    // sent again.
    for (bytes, others, again, path) in [
        (1000, 0, 0, ClosePath::ThreeWay),
        (80, 1, 0, ClosePath::FourWay),
        (0, 1, 0, ClosePath::FourWay),
        (80, 1, 1, ClosePath::Unknown),
        // A capture may show what the network card sends as two as one.
        (1000, 1, 0, ClosePath::Unknown),
    ] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.evidence.tcp.snd_wnd = 0;
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(bytes);
        end.closes(&mut world, TcpState::LastAck);
        end.evidence.tcp.segs_out += others;
        end.evidence.tcp.retransmits += again;
        end.is_acknowledged();
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!(close.path, path);
        let fin = close.steps.iter().rfind(|step| step.from == Side::Local);
        assert_eq!(fin.unwrap().at, None, "nobody saw when the FIN left");
    }
}

#[test]
fn a_fin_held_back_by_the_window_acknowledges_what_came_meanwhile() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.snd_wnd = 0;
    end.closes(&mut world, TcpState::FinWait1);
    end.receives(50, 50);
    end.is_acknowledged();
    end.to(&mut world, TcpState::FinWait2);
    end.enters_time_wait(&mut world);
    assert_eq!(steps(&world.close())[0], "local FIN,ACK 1 -");
}

#[test]
fn an_address_without_cookie_that_comes_again_is_another_connection() {
    let mut world = World::new();
    let address = 0xffff_8880_0000_1000;
    let mut filtered = Socket::connecting(&mut World::new(), address);
    filtered.classic = true;
    filtered.state = TcpState::Close;
    filtered.to(&mut world, TcpState::SynSent); // and nothing more: its port was not wanted
    let mut child = Socket::server(&mut World::new(), address);
    child.classic = true;
    child.state = TcpState::SynRecv;
    child.to(&mut world, TcpState::Established);
    child.to(&mut world, TcpState::CloseWait);
    child.to(&mut world, TcpState::LastAck);
    child.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!((close.endpoint.role, close.owner), (Role::Server, None));
}

#[test]
fn a_fin_that_waits_behind_data_leaves_the_ack_to_another_segment() {
    // Left: whether the local FIN, queued behind data for a slow peer, went out before the peer's
    // RST.
    for (left, segments) in [(false, Some(3)), (true, Some(3))] {
        let mut world = World::new();
        let mut end = Socket::server(&mut world, 5);
        end.receives_fin();
        end.to(&mut world, TcpState::CloseWait);
        end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(1000);
        let sent = end.evidence.tcp.snd_nxt;
        end.closes(&mut world, TcpState::LastAck);
        if !left {
            end.evidence.tcp.snd_nxt = sent;
        }
        world.pass_ms(40);
        end.evidence.tcp.error = 104;
        end.to(&mut world, TcpState::Close);
        let close = world.close();
        assert_eq!((close.path, close.segments), (ClosePath::Reset, segments));
        assert_eq!(steps(&close).contains(&"local ACK 1 2".to_owned()), !left);
    }
}

#[test]
fn an_abort_leaves_what_waits_in_the_backlog_unread() {
    for (waiting, segments) in [(0, Some(2)), (1, None)] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        end.evidence.flags.linger_zero = true;
        end.evidence.flags.lock_owned = true;
        end.evidence.tcp.segs_in += waiting;
        end.closes(&mut world, TcpState::Close);
        world.signal(5, reset_sent(None));
        let close = world.close();
        assert_eq!((close.path, close.segments), (ClosePath::Reset, segments));
    }
}

#[test]
fn a_rst_after_the_peers_fin_and_data_that_it_never_acknowledged_is_likely_an_answer() {
    // The FIN of this host was still waiting when the peer's came: CLOSING, not CLOSE_WAIT.
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.evidence.tcp.write_seq = end.evidence.tcp.write_seq.wrapping_add(1000);
    let sent = end.evidence.tcp.snd_nxt;
    end.closes(&mut world, TcpState::FinWait1);
    end.evidence.tcp.snd_nxt = sent;
    end.receives_fin();
    end.to(&mut world, TcpState::Closing);
    end.evidence.tcp.snd_nxt = end.evidence.tcp.write_seq;
    end.evidence.tcp.error = 104;
    end.to(&mut world, TcpState::Close);
    let close = world.close();
    assert_eq!(steps(&close).last().unwrap(), "~peer RST - -");
}
