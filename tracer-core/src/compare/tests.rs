//! Two hosts without a kernel: ends in, verdicts out. B's clock is an hour ahead.

use smallvec::smallvec;
use tcpclose_common::TcpState;

use super::*;
use crate::endpoint::{Endpoint, InitialSequenceNumbers};
use crate::finding::{Close, ClosePath, Initiator, LossLocation, Reset, SegmentFlags, Side, Step};
use crate::open_endpoint::OpenEndpoint;
use crate::samples;
use crate::types::{Certainty, EndpointId, Role, Tuple};

const HOUR: u64 = 3_600_000;

/// A time in milliseconds by A's clock, as the host has it.
fn at(host: Host, ms: u64) -> Nanos {
    match host {
        Host::A => Nanos::from_millis(ms),
        Host::B => Nanos::from_millis(ms + HOUR),
    }
}

/// The client is on A, the server on B.
fn endpoint(host: Host, number: u32, opened: u64) -> Endpoint {
    let client = format!("10.0.0.1:{}", 10_000 + number % 50_000)
        .parse()
        .unwrap();
    let server = "10.0.0.2:80".parse().unwrap();
    let (local, peer, role) = match host {
        Host::A => (client, server, Role::Client),
        Host::B => (server, client, Role::Server),
    };
    let numbers = InitialSequenceNumbers {
        iss: number,
        irs: !number,
    };
    // The server is established a millisecond after the client.
    let delay = u64::from(host == Host::B);
    Endpoint {
        id: EndpointId(number.into()),
        netns: None,
        role,
        initial: Some(match host {
            Host::A => numbers,
            Host::B => numbers.mirrored(),
        }),
        opened: Some(at(host, opened + delay)),
        ..samples::endpoint(local, peer)
    }
}

fn step(from: Side, flags: SegmentFlags, at: Nanos) -> Step {
    Step {
        from,
        flags,
        seq: None,
        ack: None,
        at: Some(at),
        known: Certainty::Observed,
    }
}

fn close(endpoint: Endpoint, path: ClosePath, at: Nanos, steps: &[Step]) -> Close {
    let reset = steps.iter().find(|step| step.is_reset());
    let initiator = match steps.first().map(|step| step.from) {
        Some(Side::Local) => Initiator::Local,
        Some(Side::Peer) => Initiator::Peer,
        None => Initiator::Unknown,
    };
    Close {
        at,
        steps: steps.into(),
        reset: reset.map(|step| Reset {
            by: step.from,
            reason: None,
            kernel_reason: None,
        }),
        ..samples::close(endpoint, path, initiator)
    }
}

fn closed(close: Close) -> RecordedEndpoint {
    RecordedEndpoint::Closed(Box::new(close))
}

fn open(endpoint: Endpoint) -> RecordedEndpoint {
    RecordedEndpoint::Open(Box::new(OpenEndpoint {
        endpoint,
        owner: None,
        state: TcpState::Established,
        since: None,
        steps: smallvec![],
        states: smallvec![],
    }))
}

/// An endpoint that was reset by the peer, or by itself.
fn reset(host: Host, number: u32, by: Side, ms: u64) -> RecordedEndpoint {
    let time = at(host, ms);
    let rst = step(by, SegmentFlags::Rst, time);
    let endpoint = endpoint(host, number, 0);
    closed(close(endpoint, ClosePath::Reset, time, &[rst]))
}

/// A comparison of two recordings from 0 to 100 s, with one orderly close that shows the clocks.
fn comparison() -> Comparison {
    use SegmentFlags::{Ack, FinAck};
    let mut all = unaligned();
    let a = Host::A;
    let steps = [
        step(Side::Local, FinAck, at(a, 10)),
        step(Side::Peer, FinAck, at(a, 12)),
        step(Side::Local, Ack, at(a, 12)),
    ];
    let client = close(endpoint(a, 0, 1), ClosePath::ThreeWay, at(a, 12), &steps);
    let b = Host::B;
    let steps = [
        step(Side::Peer, FinAck, at(b, 11)),
        step(Side::Local, FinAck, at(b, 11)),
        step(Side::Peer, Ack, at(b, 13)),
    ];
    let server = close(endpoint(b, 0, 1), ClosePath::ThreeWay, at(b, 13), &steps);
    all.add(a, closed(client), true);
    all.add(b, closed(server), true);
    all
}

fn unaligned() -> Comparison {
    let mut all = Comparison::default();
    for host in Host::BOTH {
        all.reached(host, at(host, 1));
        all.reached(host, at(host, 100_000));
    }
    all
}

fn finish(all: Comparison) -> Report {
    let hour = i64::try_from(HOUR).unwrap() * 1_000_000;
    all.finish([hour, 0])
}

fn verdicts(report: &Report) -> Vec<(VerdictKind, AffectedHosts, u64)> {
    let groups = report.groups.iter();
    groups
        .map(|group| (group.verdict.kind, group.verdict.at, group.count))
        .collect()
}

fn loss(at: Nanos) -> Loss {
    Loss {
        at,
        lost: 3,
        location: LossLocation::Ring,
        repaired: false,
        duration: None,
    }
}

#[test]
fn an_orderly_close_has_no_verdict_and_shows_the_clocks() {
    let report = finish(comparison());
    assert_eq!(verdicts(&report), []);
    assert_eq!((report.joined, report.sound.len()), (1, 1));
    let Alignment::Known(clocks) = &report.alignment else {
        panic!("{report:?}");
    };
    let Interval { low, high } = clocks.offset_at(at(Host::A, 12));
    let hour = HOUR as f64 * 1e6;
    assert!((hour - 1.1e6..hour).contains(&low), "{low}");
    assert!((hour..hour + 1.1e6).contains(&high), "{high}");
}

#[test]
fn a_reset_that_the_open_end_never_sent_is_from_the_path_and_leaves_it_half_open() {
    let mut all = comparison();
    all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_000), true);
    all.add(Host::B, open(endpoint(Host::B, 1, 0)), true);
    let report = finish(all);
    let expected = [
        (VerdictKind::ResetFromPath, AffectedHosts::A, 1),
        (VerdictKind::HalfOpen, AffectedHosts::A, 1),
    ];
    assert_eq!(verdicts(&report), expected);
    let service = report.groups[0].service.unwrap();
    assert_eq!(service.host, Host::B);
    assert_eq!(service.address, "10.0.0.2:80".parse().unwrap());
}

#[test]
fn a_reset_that_the_other_end_sent_is_none_of_the_paths() {
    let mut all = comparison();
    all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_001), true);
    all.add(Host::B, reset(Host::B, 1, Side::Local, 5_000), true);
    assert_eq!(verdicts(&finish(all)), []);
}

#[test]
fn a_close_that_came_later_shows_that_the_socket_lived() {
    let mut all = comparison();
    all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_000), true);
    all.add(Host::B, reset(Host::B, 1, Side::Local, 5_500), true);
    // Half a second is no time in which it must have been informed.
    let expected = [(VerdictKind::ResetFromPath, AffectedHosts::A, 1)];
    assert_eq!(verdicts(&finish(all)), expected);
}

#[test]
fn resets_at_both_ends_at_once_came_from_the_path_and_need_no_clocks() {
    for mut all in [comparison(), unaligned()] {
        all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_000), true);
        all.add(Host::B, reset(Host::B, 1, Side::Peer, 5_000), true);
        let expected = [(VerdictKind::ResetFromPath, AffectedHosts::Both, 1)];
        assert_eq!(verdicts(&finish(all)), expected);
    }
}

#[test]
fn without_clocks_nothing_else_is_claimed() {
    let mut all = unaligned();
    all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_000), true);
    let mut server = endpoint(Host::B, 1, 0);
    server.opened = None;
    all.add(Host::B, open(server), true);
    let report = finish(all);
    assert_eq!(verdicts(&report), []);
    assert_eq!(report.unproven_by_clocks, 1);
    let unknown = Alignment::Unknown(Unaligned::NothingShown);
    assert_eq!(report.alignment, unknown);
}

#[test]
fn a_loss_at_that_time_leaves_it_open() {
    for (ms, is_proven) in [(4_000, false), (14_000, false), (17_000, true)] {
        let mut all = comparison();
        all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_000), true);
        all.add(Host::B, reset(Host::B, 1, Side::Local, 5_500), true);
        all.add_loss(Host::B, &loss(at(Host::B, ms)));
        let report = finish(all);
        assert_eq!(verdicts(&report).is_empty(), !is_proven, "{ms}");
        assert_eq!(report.unproven_by_losses, u64::from(!is_proven));
        assert_eq!(report.ends[1].lost, 3);
    }
}

#[test]
fn a_fin_that_never_got_through_shows_at_the_end_that_lives_on() {
    let fin = step(Side::Local, SegmentFlags::FinAck, at(Host::B, 2_000));
    let timeout = |steps: &[Step]| {
        let end = endpoint(Host::B, 1, 0);
        closed(close(end, ClosePath::Timeout, at(Host::B, 60_000), steps))
    };
    let mut all = comparison();
    all.add(Host::A, open(endpoint(Host::A, 1, 0)), true);
    all.add(Host::B, timeout(&[fin]), true);
    let lost = (VerdictKind::FinNeverArrived, AffectedHosts::A, 1);
    let half_open = (VerdictKind::HalfOpen, AffectedHosts::B, 1);
    assert_eq!(verdicts(&finish(all)), [half_open, lost]);

    // One that was acknowledged did.
    let ack = step(Side::Peer, SegmentFlags::Ack, at(Host::B, 2_001));
    let mut all = comparison();
    all.add(Host::A, open(endpoint(Host::A, 1, 0)), true);
    all.add(Host::B, timeout(&[fin, ack]), true);
    assert_eq!(verdicts(&finish(all)), []);
}

#[test]
fn translated_addresses_are_named() {
    let mut all = comparison();
    let mut server = endpoint(Host::B, 1, 0);
    let seen = "198.51.100.7:2231".parse().unwrap();
    server.tuple = ("10.0.0.2:80".parse().unwrap(), seen).into();
    all.add(Host::A, reset(Host::A, 1, Side::Local, 5_000), true);
    all.add(Host::B, open(server), true);
    let report = finish(all);
    let expected = Translation {
        host: Host::A,
        own: "10.0.0.1:10001".parse().unwrap(),
        seen,
        count: 1,
    };
    assert_eq!(report.translations, [expected]);
}

fn without_numbers(mut endpoint: Endpoint) -> Endpoint {
    endpoint.initial = None;
    endpoint
}

#[test]
fn ends_without_numbers_are_joined_by_address_where_nothing_else_fits() {
    let end = |host, opened| open(without_numbers(endpoint(host, 1, opened)));
    let mut all = comparison();
    all.add(Host::A, end(Host::A, 5), true);
    all.add(Host::B, open(endpoint(Host::B, 1, 5)), true);
    assert_eq!(finish(all).by_address, 1, "one of them lacks its numbers");

    let mut all = comparison();
    all.add(Host::A, end(Host::A, 5), true);
    all.add(Host::B, end(Host::B, 5), true);
    all.add(Host::B, end(Host::B, 9), true);
    let report = finish(all);
    assert_eq!((report.by_address, report.ends[1].alone), (0, 2));

    // At another time it was another connection.
    let early = close(
        without_numbers(endpoint(Host::A, 1, 5)),
        ClosePath::FourWay,
        at(Host::A, 10),
        &[],
    );
    let mut all = comparison();
    all.add(Host::A, closed(early), true);
    all.add(Host::B, end(Host::B, 50_000), true);
    assert_eq!(finish(all).by_address, 0);
}

#[test]
fn an_end_that_is_in_both_recordings_is_noticed() {
    let mut all = comparison();
    all.add(Host::A, open(endpoint(Host::A, 1, 0)), true);
    all.add(Host::B, open(endpoint(Host::A, 1, 0)), true);
    assert_eq!(finish(all).same_endpoints, 1);
}

#[test]
fn an_end_that_the_other_recording_should_have_is_missing() {
    let mut all = comparison();
    all.add(Host::A, open(endpoint(Host::A, 1, 0)), true);
    let mut elsewhere = endpoint(Host::A, 2, 0);
    elsewhere.tuple = Tuple::from((elsewhere.tuple.local(), "192.0.2.1:443".parse().unwrap()));
    all.add(Host::A, open(elsewhere), true);
    let EndpointCounts { alone, missing, .. } = finish(all).ends[0];
    assert_eq!((alone, missing), (2, 1));
}

#[test]
fn what_waits_is_bounded_and_what_made_room_is_counted() {
    let mut all = comparison();
    let count = MAX_WAITING as u32 + 2;
    for number in 1..=count {
        all.add(Host::A, open(endpoint(Host::A, number, 0)), true);
    }
    // The first two are gone.
    all.add(Host::B, open(endpoint(Host::B, 2, 0)), true);
    all.add(Host::B, open(endpoint(Host::B, 3, 0)), true);
    let report = finish(all);
    assert_eq!(report.ends[0].dropped, 2);
    assert_eq!(report.joined, 2, "the orderly one, and one of these");
}

#[test]
fn many_abnormal_closes_are_judged_with_what_is_kept_bounded() {
    let mut all = comparison();
    let count = MAX_PENDING as u32 + 10;
    for number in 1..=count {
        all.add(Host::A, reset(Host::A, number, Side::Peer, 5_000), true);
        all.add(Host::B, reset(Host::B, number, Side::Local, 5_500), true);
    }
    let report = finish(all);
    let expected = [(VerdictKind::ResetFromPath, AffectedHosts::A, count.into())];
    assert_eq!(verdicts(&report), expected);
    assert_eq!(report.groups[0].examples.len(), MAX_EXAMPLES);
}

#[test]
fn what_the_filter_does_not_want_only_shows_the_clocks() {
    let mut all = comparison();
    all.add(Host::A, reset(Host::A, 1, Side::Peer, 5_000), false);
    all.add(Host::B, open(endpoint(Host::B, 1, 0)), false);
    let report = finish(all);
    assert_eq!((verdicts(&report), report.joined), (vec![], 2));
}
