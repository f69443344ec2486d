//! Silences that show a timeout, and their false friends.

use std::net::SocketAddr;

use smallvec::smallvec;

use super::*;
use crate::finding::{ClosePath, SegmentFlags, Step};
use crate::samples;
use crate::types::{Certainty, Role};

/// A close of a client's connection by its server: `(seconds of its beginning, ms of silence)`.
fn close((began, silence): (u64, u64)) -> Close {
    let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let began = Nanos::from_secs(began);
    let endpoint = samples::endpoint(end("10.0.0.1:40000"), end("10.0.0.2:8088"));
    Close {
        at: began + Nanos::from_millis(3),
        idle: Some(Nanos::from_millis(silence)),
        steps: smallvec![Step {
            from: Side::Peer,
            flags: SegmentFlags::FinAck,
            seq: None,
            ack: None,
            at: Some(began),
            known: Certainty::Observed,
        }],
        ..samples::close(endpoint, ClosePath::FourWay, Initiator::Peer)
    }
}

fn found(closes: impl IntoIterator<Item = Close>) -> Vec<IdleTimeout> {
    let mut timeouts = IdleTimeouts::default();
    for close in closes {
        timeouts.record(&close);
    }
    timeouts.found(10).most
}

/// Closes of each silence, one a second.
fn found_each_second(silences: impl IntoIterator<Item = u64>) -> Vec<IdleTimeout> {
    found((10..).zip(silences).map(close))
}

/// Numbers from 0 to 1, the same ones in each run.
fn random() -> impl Iterator<Item = f64> {
    let mut state = 7_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 11) as f64 / (1_u64 << 53) as f64
    })
}

#[test]
fn silences_that_gather_at_one_value_show_a_timeout() {
    let closes = (0..830).map(|number| match number % 46 {
        45 => 300 + number * 7,
        late => 5_000 + late / 3,
    });
    let found = found_each_second(closes);
    let [timeout] = &*found else {
        panic!("{found:?}")
    };
    assert_eq!((timeout.closes, timeout.silent_closes), (812, 830));
    assert_eq!(
        timeout.of,
        ServiceSide {
            netns: NetNs::new(1),
            service: ServiceAddress::Peer("10.0.0.2:8088".parse().expect("an address")),
            closed_by: Side::Peer,
        }
    );
    let distance = timeout.silence.0.abs_diff(Nanos::from_millis(5_007).0);
    assert!(distance < Nanos::from_millis(7).0, "{timeout:?}");
    assert_eq!(timeout.missed, MissedTimeouts::default());
}

#[test]
fn long_timeouts_may_be_as_inexact_as_their_timers() {
    // A pool that looks every second for connections that were idle for a minute.
    let found = found_each_second(
        random()
            .take(100)
            .map(|jitter| 60_000 + (jitter * 1_000.0) as u64),
    );
    assert_eq!((found[0].closes, found[0].silent_closes), (100, 100));
}

#[test]
fn silences_of_any_length_show_none() {
    for mean in [30.0, 300.0, 2_000.0, 30_000.0] {
        for count in [10, 100, 10_000] {
            let exponential = random().map(|random| (-mean * random.ln()) as u64);
            assert_eq!(
                found_each_second(exponential.take(count)),
                [],
                "{mean} {count}"
            );
        }
    }
    assert_eq!(
        found_each_second((0..1_000).map(|number| 1_000 + number * 10)),
        []
    );
}

#[test]
fn two_values_show_none_unless_one_is_rare() {
    assert_eq!(
        found_each_second((0..100).map(|number| 5_000 + number % 2 * 10_000)),
        []
    );
    let found =
        found_each_second((0..100).map(|number| 5_000 + u64::from(number % 5 == 0) * 10_000));
    assert_eq!((found[0].closes, found[0].silent_closes), (80, 100));
}

#[test]
fn few_closes_show_none() {
    assert_eq!(found_each_second([5_000; 7]), []);
    assert_eq!(found_each_second([5_000; 8]).len(), 1);
}

#[test]
fn closes_right_after_data_are_no_silence_and_do_not_count() {
    assert_eq!(found_each_second((0..1_000).map(|number| number % 10)), []);
    let found = found_each_second([5_000; 8].into_iter().chain([0; 1_000]));
    assert_eq!((found[0].closes, found[0].silent_closes), (8, 8));
}

#[test]
fn a_server_that_stops_after_a_burst_has_no_timeout() {
    let stopped = |at| [(at, 7_000); 100].map(close);
    assert_eq!(found(stopped(20)), []);
    // Others in between are other moments.
    let others = (10..20).map(|second| close((second, 300 * second)));
    assert_eq!(found(others.chain(stopped(20))), []);
    // That the other side closes when it likes does not make it several.
    let slow = (0..100).map(|number| Close {
        at: Nanos::from_secs(20 + number),
        ..close((20, 7_000))
    });
    assert_eq!(found(slow), []);
    let each_minute = (1..10).flat_map(|minute| stopped(60 * minute));
    assert_eq!(found(each_minute).len(), 1);
}

#[test]
fn services_and_sides_are_counted_apart() {
    let mut closes = Vec::new();
    for second in 10..20 {
        let by_server = close((second, 5_000));
        let mut by_client = close((second, 30_000));
        by_client.initiator = Initiator::Local;
        let mut accepted = close((second, 15_000));
        accepted.endpoint.role = Role::Server;
        accepted.initiator = Initiator::Local;
        let mut elsewhere = close((second, 20_000));
        elsewhere.endpoint.netns = NetNs::new(2);
        closes.extend([by_server, by_client, accepted, elsewhere]);
    }
    let found = found(closes);
    let sides = found.iter().map(|timeout| {
        let ServiceSide {
            netns,
            service,
            closed_by,
        } = timeout.of;
        let accepted = matches!(service, ServiceAddress::Listening(port) if port.get() == 40_000);
        let seconds = (timeout.silence.0 + 500_000_000) / 1_000_000_000;
        (netns.map(NetNs::get), accepted, closed_by, seconds)
    });
    assert_eq!(
        sides.collect::<Vec<_>>(),
        [
            (Some(1), true, Side::Local, 15),
            (Some(1), false, Side::Local, 30),
            (Some(1), false, Side::Peer, 5),
            (Some(2), false, Side::Peer, 20),
        ]
    );
}

#[test]
fn what_ran_into_it_is_counted_and_what_others_ended_is_not() {
    let with = |second, cause| Close {
        cause: Some(cause),
        ..close((second, 5_000))
    };
    let orderly = (10..20).map(|second| close((second, 5_000)));
    let causes = [
        Cause::StaleKeepalive,
        Cause::StaleKeepalive,
        Cause::CrossedKeepalive,
        Cause::DataAfterClose,
        Cause::KeepaliveTimeout,
        Cause::Destroyed,
        Cause::FromPath,
    ];
    let others = causes.map(|cause| with(30, cause));
    let found = found(orderly.chain(others));
    assert_eq!((found[0].closes, found[0].silent_closes), (14, 14));
    let missed = MissedTimeouts {
        late: 2,
        crossed: 1,
        after_close: 1,
    };
    assert_eq!(found[0].missed, missed);
    assert_eq!(missed.total(), 4);
}

#[test]
fn many_services_are_bounded_and_the_busy_one_stays() {
    let mut timeouts = IdleTimeouts::default();
    for second in 10..10_010 {
        let mut rare = close((second, 5_000));
        let peer = SocketAddr::from(([10, 1, (second >> 8) as u8, second as u8], 80));
        rare.endpoint.tuple = (rare.endpoint.tuple.local(), peer).into();
        timeouts.record(&rare);
        timeouts.record(&close((second, 5_000)));
    }
    assert!(timeouts.services.iter().count() <= MAX_SERVICES);
    let found = timeouts.found(10);
    assert_eq!((found.most.len(), found.others, found.exact), (1, 0, false));
    assert_eq!(found.most[0].closes, 10_000);
}
