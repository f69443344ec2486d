//! Transitions that are missing although nothing counted their loss.

use tcpclose_common::TcpState;
use tcpclose_core::event::{Segment, SignalKind};
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{Input, MinisocketState};

use crate::socket::{IRS, ISS, Socket, World};

/// What is reported when the counters have been read.
fn uncounted(world: &mut World) -> u64 {
    world
        .tracker
        .take_uncounted_losses(world.now + Nanos::from_secs(3))
}

#[test]
fn a_close_in_which_nothing_is_missing_lacks_nothing() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.closes_first(&mut world);
    end.enters_time_wait(&mut world);
    let mut end = Socket::server(&mut world, 6);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    end.to(&mut world, TcpState::CloseWait);
    end.closes(&mut world, TcpState::LastAck);
    end.is_acknowledged();
    end.to(&mut world, TcpState::Close);
    assert_eq!(uncounted(&mut world), 0);
}

#[test]
fn transitions_that_do_not_join_lack_at_least_one() {
    let mut world = World::new();
    let mut end = Socket::client(&mut world, 5);
    end.state = TcpState::FinWait1;
    end.to(&mut world, TcpState::FinWait2);
    assert_eq!(
        world.tracker.next_deadline(),
        Some(world.now + Nanos::from_secs(2))
    );
    assert_eq!(uncounted(&mut world), 1);
    assert_eq!(uncounted(&mut world), 0);
}

#[test]
fn an_endpoint_that_is_gone_lacks_its_last_transitions() {
    for (minisocket, expected) in [
        (MinisocketState::FinWait2(Nanos::from_secs(50)), 2),
        (MinisocketState::TimeWait(Nanos::from_secs(50)), 1),
        (MinisocketState::Gone, 1),
    ] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.evidence.flags.dead = true;
        end.closes(&mut world, TcpState::FinWait1);
        world.pass_ms(2_000);
        world.answer(minisocket);
        assert_eq!(uncounted(&mut world), 0, "its records may still come");
        world.pass_ms(100);
        world.answer(minisocket);
        assert_eq!(uncounted(&mut world), expected, "{minisocket:?}");
    }
}

#[test]
fn a_segment_that_a_minisocket_took_shows_that_its_socket_is_gone() {
    for time_wait in [false, true] {
        let mut world = World::new();
        let mut end = Socket::client(&mut world, 5);
        end.closes(&mut world, TcpState::FinWait1);
        let fin = Segment {
            fin: true,
            rst: false,
            has_ack: true,
            seq: IRS.wrapping_add(1),
            end: IRS.wrapping_add(2),
            ack: ISS.wrapping_add(2),
        };
        let segment = SignalKind::MinisocketSegment {
            segment: fin,
            time_wait,
        };
        world.signal(5, segment);
        let expected = if time_wait { 1 } else { 2 };
        assert_eq!(uncounted(&mut world), expected);
    }
}

#[test]
fn a_socket_that_connects_again_lacks_the_end_of_its_earlier_life() {
    let mut world = World::new();
    Socket::client(&mut world, 5);
    Socket::client(&mut world, 5);
    assert_eq!(uncounted(&mut world), 1);
}

#[test]
fn what_a_port_filter_hides_is_not_missing() {
    let mut world = World::new();
    world.tracker = tcpclose_core::Tracker::new(16).with_port_filter();
    Socket::connecting(&mut world, 5);
    Socket::connecting(&mut world, 5);
    assert_eq!(uncounted(&mut world), 0);
}

#[test]
fn what_a_counted_loss_explains_is_not_counted_again() {
    let mut world = World::new();
    let lost = |world: &mut World, lost| {
        let at = world.now;
        world.tracker.apply(&Input::Loss(Loss {
            at,
            lost,
            location: LossLocation::Program,
            repaired: true,
            duration: None,
        }));
    };
    lost(&mut world, 1);
    for id in [5, 6] {
        let mut end = Socket::client(&mut world, id);
        end.state = TcpState::FinWait1;
        end.to(&mut world, TcpState::FinWait2);
        assert!(world.tracker.in_state_since(EndpointId(id)).is_some());
    }
    assert_eq!(uncounted(&mut world), 1, "the loss was of one");
    // That one is now reported, and explains nothing else.
    lost(&mut world, 1);
    let mut end = Socket::client(&mut world, 7);
    end.state = TcpState::FinWait1;
    end.to(&mut world, TcpState::FinWait2);
    assert_eq!(uncounted(&mut world), 1);
}
