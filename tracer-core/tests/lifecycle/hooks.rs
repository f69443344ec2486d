//! What the kernel's function hooks report minisockets: exact times.

use tcpclose_common::TcpState;
use tcpclose_core::PollResponse;
use tcpclose_core::event::SignalKind;
use tcpclose_core::finding::{ClosePath, EndSource, Finding, TimeWait, TimeWaitEnd};
use tcpclose_core::types::Nanos;

use crate::input_methods::InputMethods as _;
use crate::socket::{NETNS, Socket, World, tuple};

const ARMED: SignalKind = SignalKind::MinisocketArmed { time_wait: true };
const PARKED: SignalKind = SignalKind::MinisocketArmed { time_wait: false };

fn hooked() -> World {
    let mut world = World::new();
    world.tracker = world.tracker.with_hooks();
    world
}

/// A client that enters TIME_WAIT now. The kernel starts the minisocket before the transition to
/// CLOSE.
fn enter(world: &mut World, id: u64, armed: bool) {
    enter_on(world, id, 40_000, armed);
}

/// As [`enter`], from this port.
fn enter_on(world: &mut World, id: u64, port: u16, armed: bool) {
    let mut end = Socket::client_on(world, id, port);
    end.closes_first(world);
    end.receives_fin();
    end.acknowledges();
    if armed {
        world.signal(id, ARMED);
    }
    end.to(world, TcpState::Close);
}

/// A client whose process has closed it; the peer's FIN is still to come.
fn park(world: &mut World, id: u64) {
    let mut end = Socket::client(world, id);
    end.evidence.flags.dead = true;
    end.closes_first(world);
    world.signal(id, PARKED);
    end.to(world, TcpState::Close);
    assert!(world.findings().is_empty());
}

fn time_wait(world: &mut World) -> TimeWait {
    let mut findings = world.findings();
    match findings.pop() {
        Some(Finding::TimeWait(time_wait)) => *time_wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn with_hooks_an_expiry_is_exact_and_nothing_is_polled() {
    let mut world = hooked();
    enter(&mut world, 5, true);
    world.close();
    for _ in 0..61 {
        world.pass_ms(1_000);
        let mut due = Vec::new();
        world.tracker.due_polls(world.now, &mut due);
        assert_eq!(due, []);
    }
    world.signal(5, SignalKind::MinisocketKilled);
    let reported = time_wait(&mut world);
    assert_eq!(
        (reported.end, reported.measured),
        (TimeWaitEnd::Expired, EndSource::Hook)
    );
    assert_eq!(
        (reported.dwell, reported.error),
        (Nanos::from_secs(61), Nanos(0))
    );
    assert_eq!(world.tracker.next_deadline(), None);
}

#[test]
fn a_restart_is_seen() {
    let mut world = hooked();
    enter(&mut world, 5, true);
    world.close();
    world.pass_ms(10_000);
    world.signal(5, ARMED);
    world.pass_ms(60_500);
    world.signal(5, SignalKind::MinisocketKilled);
    let reported = time_wait(&mut world);
    assert_eq!(
        (reported.restarts, reported.dwell),
        (1, Nanos::from_millis(70_500))
    );
}

#[test]
fn taken_down_and_replaced_is_reuse() {
    let mut world = hooked();
    enter(&mut world, 5, true);
    world.close();
    world.pass_ms(1_500);
    let mut again = Socket::connecting(&mut world, 6);
    world.signal(5, SignalKind::MinisocketDescheduled);
    world.signal(5, SignalKind::MinisocketKilled);
    assert!(world.findings().is_empty());
    world.pass_ms(40);
    again.tuple = tuple(40_000, 3306);
    again.to(&mut world, TcpState::Established);
    let reported = time_wait(&mut world);
    assert_eq!(
        (reported.end, reported.measured),
        (TimeWaitEnd::Reused, EndSource::Hook)
    );
    assert_eq!(reported.dwell, Nanos::from_millis(1_500));
}

#[test]
fn taken_down_and_not_replaced_is_killed() {
    let mut world = hooked();
    enter(&mut world, 5, true);
    world.close();
    world.pass_ms(1_500);
    world.signal(5, SignalKind::MinisocketDescheduled);
    world.signal(5, SignalKind::MinisocketKilled);
    world.pass_ms(2_900);
    assert!(world.findings().is_empty());
    world.pass_ms(100);
    let reported = time_wait(&mut world);
    assert_eq!(
        (reported.end, reported.dwell),
        (TimeWaitEnd::Killed, Nanos::from_millis(1_500))
    );
}

/// The compiler may have inlined inet_twsk_deschedule_put() into its caller, as into 6.1's
/// inet_twsk_purge().
#[test]
fn a_timer_removed_early_is_not_an_expiry_even_without_a_signal() {
    let mut world = hooked();
    enter(&mut world, 5, true);
    world.close();
    world.pass_ms(1_500);
    world.signal(5, SignalKind::MinisocketKilled);
    world.pass_ms(3_000);
    let reported = time_wait(&mut world);
    assert_eq!(
        (reported.end, reported.dwell),
        (TimeWaitEnd::Killed, Nanos::from_millis(1_500))
    );
}

#[test]
fn a_minisocket_that_was_never_made_is_an_overflow() {
    let mut world = hooked();
    // The hooks report this one.
    enter_on(&mut world, 4, 40_001, true);
    world.close();
    world.signal(4, SignalKind::MinisocketDescheduled);
    // Nothing of this one: it is looked for, as a record may be lost too.
    enter(&mut world, 5, false);
    world.close();
    world.pass_ms(200);
    let mut due = Vec::new();
    world.tracker.due_polls(world.now, &mut due);
    assert_eq!(due.len(), 1);
    world.tracker.apply_poll(&PollResponse {
        netns: Some(NETNS),
        began: world.now,
        ended: world.now,
        cost: Nanos(0),
        reached: true,
        complete: true,
        overflows: 1,
        found: Vec::new(),
    });
    let reported = time_wait(&mut world);
    assert_eq!(
        (reported.end, reported.dwell),
        (TimeWaitEnd::Overflow, Nanos(0))
    );
    assert_eq!(world.tracker.in_time_wait(), 1);
    world.pass_ms(3_000);
    assert_eq!(time_wait(&mut world).end, TimeWaitEnd::Killed);
}

#[test]
fn the_peers_fin_is_reported_when_it_comes() {
    let mut world = hooked();
    park(&mut world, 5);
    world.pass_ms(300);
    world.signal(5, ARMED);
    let close = world.close();
    assert_eq!(close.path, ClosePath::FourWay);
    assert_eq!(
        close.states.last(),
        Some(&(TcpState::FinWait2, Some(Nanos::from_millis(300))))
    );
    world.pass_ms(60_000);
    world.signal(5, SignalKind::MinisocketKilled);
    assert_eq!(time_wait(&mut world).dwell, Nanos::from_secs(60));
}

#[test]
fn a_wait_for_the_peers_fin_that_ends_by_its_timer_timed_out() {
    let mut world = hooked();
    park(&mut world, 5);
    world.pass_ms(700);
    world.signal(5, SignalKind::MinisocketKilled);
    let close = world.close();
    assert_eq!((close.path, close.at), (ClosePath::Timeout, world.now));
}
