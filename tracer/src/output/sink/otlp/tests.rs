//! What is sent; tests/sinks/ sends it to receivers.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric};
use opentelemetry_semantic_conventions::attribute as conventions;

use super::*;
use crate::output::samples;
use crate::output::sink::config::Temporality;
use crate::summary::Summary;
use tcpclose_core::types::Nanos;

#[test]
fn borrowed_names_are_those_of_the_published_conventions() {
    let published = BTreeSet::from([
        conventions::NETWORK_LOCAL_ADDRESS,
        conventions::NETWORK_LOCAL_PORT,
        conventions::NETWORK_PEER_ADDRESS,
        conventions::NETWORK_PEER_PORT,
        conventions::NETWORK_TYPE,
        conventions::PROCESS_PID,
        conventions::PROCESS_TITLE,
        conventions::CONTAINER_ID,
        conventions::CONTAINER_RUNTIME_NAME,
        conventions::K8S_POD_UID,
        conventions::PROCESS_EXECUTABLE_PATH,
        conventions::PROCESS_COMMAND_ARGS,
    ]);
    let used: BTreeSet<&str> = attributes::CONVENTIONS
        .iter()
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(used, published);
    assert_eq!(conventions::NETWORK_TRANSPORT, "network.transport");
    assert_eq!(
        conventions::NETWORK_CONNECTION_STATE,
        "network.connection.state"
    );
    assert_eq!(SCHEMA_URL, opentelemetry_semantic_conventions::SCHEMA_URL);
}

fn metric<'a>(metrics: &'a [Metric], name: &str) -> &'a Data {
    let found = metrics.iter().find(|metric| metric.name == name);
    let metric = found.unwrap_or_else(|| panic!("no {name}"));
    metric.data.as_ref().expect("data")
}

/// Start, time and value of the only point of a sum.
fn opened(metrics: &[Metric]) -> (u64, u64, i64) {
    let Data::Sum(sum) = metric(metrics, "tcpclose.connections.opened") else {
        panic!("a sum")
    };
    let point = &sum.data_points[0];
    let Some(Value::AsInt(value)) = point.value else {
        panic!("a whole number")
    };
    (point.start_time_unix_nano, point.time_unix_nano, value)
}

fn summary(from: u64, to: u64) -> Summary {
    let mut summary = samples::summary();
    summary.connections.from = Nanos::from_secs(from);
    summary.connections.to = Nanos::from_secs(to);
    summary
}

const NOON: u64 = 1_769_860_800;

fn at(seconds: u64) -> u64 {
    (NOON + seconds) * 1_000_000_000
}

#[test]
fn sums_go_on_from_interval_to_interval_and_begin_anew_after_a_gap() {
    let clock = samples::clock();
    let mut sums = Sums::new(Temporality::Cumulative);
    let mut next = |from, to| opened(&metrics::of(&summary(from, to), &mut sums, &clock));
    assert_eq!(next(0, 60), (at(0), at(60), 5));
    assert_eq!(next(60, 120), (at(0), at(120), 10));
    assert_eq!(next(180, 240), (at(180), at(240), 5));
}

#[test]
fn deltas_are_of_their_interval() {
    let clock = samples::clock();
    let mut sums = Sums::new(Temporality::Delta);
    let mut next = |from, to| metrics::of(&summary(from, to), &mut sums, &clock);
    next(0, 60);
    let second = next(60, 120);
    assert_eq!(opened(&second), (at(60), at(120), 5));
    let Data::Sum(sum) = metric(&second, "tcpclose.closes") else {
        panic!("a sum")
    };
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
    assert!(sum.is_monotonic);
}

#[test]
fn every_metric_has_a_name_of_its_own_a_unit_and_a_line_in_the_docs() {
    let docs = include_str!("../../../../../docs/outputs.md");
    let mut sums = Sums::new(Temporality::Delta);
    let metrics = metrics::of(&samples::summary(), &mut sums, &samples::clock());
    let names: BTreeSet<&str> = metrics.iter().map(|metric| &*metric.name).collect();
    assert_eq!(names.len(), metrics.len());
    for metric in &metrics {
        assert!(metric.name.starts_with("tcpclose."), "{}", metric.name);
        assert!(!metric.unit.is_empty(), "{}", metric.name);
        assert!(
            docs.contains(&format!("`{}`", metric.name)),
            "{}",
            metric.name
        );
        assert!(!metric.description.is_empty(), "{}", metric.name);
    }
}

fn histogram(metrics: &[Metric]) -> Vec<(u64, f64, Vec<u64>)> {
    let Data::Histogram(histogram) = metric(metrics, "tcpclose.state.duration") else {
        panic!("a histogram")
    };
    let points = histogram.data_points.iter().map(|point| {
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        assert_eq!(point.count, point.bucket_counts.iter().sum::<u64>());
        (
            point.count,
            point.sum.expect("a sum"),
            point.bucket_counts.clone(),
        )
    });
    points.collect()
}

#[test]
fn durations_are_a_histogram_with_the_buckets_of_prometheus() {
    let clock = samples::clock();
    for (temporality, times) in [(Temporality::Cumulative, 2), (Temporality::Delta, 1)] {
        let mut sums = Sums::new(temporality);
        let first = histogram(&metrics::of(&summary(0, 60), &mut sums, &clock));
        let second = histogram(&metrics::of(&summary(60, 120), &mut sums, &clock));
        // In CLOSE_WAIT: 0.09 ms.
        let (count, sum, buckets) = &first[1];
        assert_eq!((*count, *sum), (1, 0.000_09));
        assert_eq!(buckets[2], 1, "30 to 100 µs: {buckets:?}");
        assert_eq!(second[1].0, times);
    }
}

#[test]
fn names_are_those_of_the_summary_and_none_comes_twice() {
    let mut sums = Sums::new(Temporality::Delta);
    let metrics = metrics::of(&samples::summary(), &mut sums, &samples::clock());
    let points = |name: &str| -> Vec<String> {
        let Data::Gauge(gauge) = metric(&metrics, name) else {
            panic!("a gauge")
        };
        let told = gauge.data_points.iter().map(|point| {
            let labels = point.attributes.iter().map(|label| {
                let value = label.value.clone().and_then(|value| value.value);
                format!("{}={value:?} ", label.key)
            });
            labels.collect()
        });
        told.collect()
    };
    let names = |name: &str, label: &str| {
        let all = points(name);
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        assert!(all.iter().any(|labels| labels.contains(label)), "{all:?}");
    };
    names(
        "tcpclose.process.closes",
        "process.title=Some(StringValue(\"mariadb\"))",
    );
    names(
        "tcpclose.process.resets",
        "process.title=Some(StringValue(\"mariadb\"))",
    );
    names(
        "tcpclose.peer.closes",
        "network.peer.address=Some(StringValue(\"127.0.0.1\"))",
    );
    names("tcpclose.peer.resets", "2001:db8::2");
    names(
        "tcpclose.process.close_wait.stuck",
        "process.pid=Some(IntValue(",
    );
    names("tcpclose.peer.close_wait.stuck", "10.0.0.2");
    names(
        "tcpclose.close_wait.descriptors_exhausted_in",
        "process.title=",
    );
    names(
        "tcpclose.ephemeral_ports.utilization",
        "network.peer.port=Some(IntValue(3306))",
    );
}
