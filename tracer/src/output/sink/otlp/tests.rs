//! What is sent; tests/sinks/ sends it to receivers.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric, NumberDataPoint};
use opentelemetry_semantic_conventions::attribute as conventions;

use super::request::SCHEMA_URL;
use super::*;
use crate::cgroup_names::NoCgroups;
use crate::metrics::{
    CATALOGUE, ExportFormat, HIGH_CARDINALITY, MetricsSnapshot, SnapshotPair, prometheus_label,
};
use crate::output::clock::WallClock;
use crate::output::prometheus::Exporter;
use crate::output::samples;
use crate::output::sink::config::Temporality;
use crate::output::summary_samples;
use tcpclose_core::summary::{Histogram, Totals};
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
        conventions::CONTAINER_NAME,
        conventions::K8S_POD_UID,
        conventions::K8S_POD_NAME,
        conventions::K8S_NAMESPACE_NAME,
        conventions::PROCESS_EXECUTABLE_PATH,
        conventions::PROCESS_COMMAND_ARGS,
    ]);
    let used: BTreeSet<&str> = attributes::CONVENTIONS
        .iter()
        .map(|(_, name)| *name)
        .collect();
    assert_eq!(used, published);
    assert_eq!(conventions::K8S_CONTAINER_NAME, attributes::NAME_IN_POD);
    assert_eq!(conventions::NETWORK_TRANSPORT, "network.transport");
    assert_eq!(
        conventions::NETWORK_CONNECTION_STATE,
        "network.connection.state"
    );
    assert_eq!(SCHEMA_URL, opentelemetry_semantic_conventions::SCHEMA_URL);
}

#[test]
fn attributes_of_the_resource_come_from_the_environment_too() {
    let read = |variable| attributes::from_environment(variable).collect::<Vec<_>>();
    let pair = |name, value: &str| (name, value.to_owned());
    assert_eq!(
        read("k8s.node.name=node-1, host.name = node-1,a=b%2Cc%3D%C3%A4"),
        [
            pair("k8s.node.name", "node-1"),
            pair("host.name", "node-1"),
            pair("a", "b,c=ä"),
        ]
    );
    assert_eq!(read("a=,b=c=d"), [pair("a", ""), pair("b", "c=d")]);
    for broken in ["", ",", "a", "=b", "a=%", "a=%2", "a=%zz", "a=%+1", "a=%ff"] {
        assert_eq!(read(broken), [], "{broken}");
    }
}

fn metric<'a>(metrics: &'a [Metric], name: &str) -> &'a Data {
    let found = metrics.iter().find(|metric| metric.name == name);
    let metric = found.unwrap_or_else(|| panic!("no {name}"));
    metric.data.as_ref().expect("data")
}

/// Start, time and value of the only point of a sum.
fn opened(metrics: &[Metric]) -> (u64, u64, i64) {
    let Data::Sum(sum) = metric(metrics, "tcpclose.opened") else {
        panic!("a sum")
    };
    let point = &sum.data_points[0];
    let Some(Value::AsInt(value)) = point.value else {
        panic!("a whole number")
    };
    (point.start_time_unix_nano, point.time_unix_nano, value)
}

/// The agent after so many minutes, each like that of the samples.
fn after(minutes: u64) -> Arc<MetricsSnapshot> {
    let minute = summary_samples::snapshot();
    let times = u32::try_from(minutes).expect("a few");
    let mut totals = Totals::default();
    for (kind, count) in minute.totals.closes.iter() {
        totals.closes.add(kind, count * minutes);
    }
    totals.durations = minute.totals.durations.map(|histogram| Histogram {
        counts: histogram.counts.map(|count| count * minutes),
        sum: histogram.sum * times,
    });
    Arc::new(MetricsSnapshot {
        at: Nanos::from_secs(60 * minutes),
        opened: minute.opened * minutes,
        totals,
        ..minute
    })
}

/// That minute of the agent.
fn minute(number: u64) -> SnapshotPair {
    SnapshotPair {
        before: after(number - 1),
        now: after(number),
    }
}

/// An output's exports; those of refused ones are not accepted.
struct Exports(LastAccepted, Temporality);

impl Exports {
    fn new(temporality: Temporality) -> Self {
        Self(LastAccepted::default(), temporality)
    }

    fn refused(&self, interval: &SnapshotPair) -> Vec<Metric> {
        self.export(interval, &samples::clock()).messages
    }

    fn accepted(&self, interval: &SnapshotPair) -> Vec<Metric> {
        let Export { messages, accepted } = self.export(interval, &samples::clock());
        self.0.set(accepted);
        messages
    }

    fn export(&self, interval: &SnapshotPair, clock: &WallClock) -> Export {
        Export::new(interval, self.1, &self.0, clock, &mut NoCgroups)
    }
}

const NOON: u64 = 1_769_860_800;

fn at(seconds: u64) -> u64 {
    (NOON + seconds) * 1_000_000_000
}

#[test]
fn sums_are_from_the_start_whatever_came_between() {
    let exports = Exports::new(Temporality::Cumulative);
    let one = exports.accepted(&minute(1));
    assert_eq!(opened(&one), (at(0), at(60), 5));
    assert_eq!(opened(&exports.refused(&minute(2))), (at(0), at(120), 10));
    // The third was dropped, as the queue was full.
    assert_eq!(opened(&exports.accepted(&minute(4))), (at(0), at(240), 20));
}

#[test]
fn deltas_are_since_the_last_that_was_accepted() {
    let exports = Exports::new(Temporality::Delta);
    // What was before the output was there is not its affair.
    let three = exports.accepted(&minute(3));
    assert_eq!(opened(&three), (at(120), at(180), 5));
    let four = exports.accepted(&minute(4));
    assert_eq!(opened(&four), (at(180), at(240), 5));
    let Data::Sum(sum) = metric(&four, "tcpclose.closes") else {
        panic!("a sum")
    };
    assert_eq!(sum.aggregation_temporality(), AggregationTemporality::Delta);
    assert!(sum.is_monotonic);
    for _ in 0..2 {
        assert_eq!(opened(&exports.refused(&minute(5))), (at(240), at(300), 5));
    }
    assert_eq!(
        opened(&exports.accepted(&minute(6))),
        (at(240), at(360), 10)
    );
    assert_eq!(opened(&exports.accepted(&minute(7))), (at(360), at(420), 5));
}

/// A receiver takes another start for a restart.
#[test]
fn the_start_stays_when_the_wall_clock_is_set() {
    let an_hour_back = WallClock::fixed((at(0) - 3_600_000_000_000) as i64, TimeZone::UTC);
    for (temporality, start) in [(Temporality::Cumulative, 0), (Temporality::Delta, 60)] {
        let exports = Exports::new(temporality);
        exports.accepted(&minute(1));
        let (from, to, _) = opened(&exports.export(&minute(2), &an_hour_back).messages);
        assert_eq!(from, at(start));
        assert!(to >= from, "no time before its start");
    }
}

#[test]
fn a_restarted_agent_has_another_start() {
    let exports = Exports::new(Temporality::Cumulative);
    exports.accepted(&minute(1));
    let now = MetricsSnapshot {
        start: samples::clock().timestamp(Nanos::from_secs(90)),
        ..(*after(2)).clone()
    };
    let interval = SnapshotPair {
        now: Arc::new(now),
        ..minute(2)
    };
    let (start, ..) = opened(&exports.accepted(&interval));
    assert_eq!(start, at(90));
}

#[test]
fn every_metric_for_otlp_is_sent_with_its_unit_and_description() {
    let metrics = Exports::new(Temporality::Delta).accepted(&minute(1));
    let catalogue = CATALOGUE.iter().flat_map(|section| section.metrics);
    let catalogue = catalogue.filter(|metric| metric.is_for(ExportFormat::Otlp));
    let expected: Vec<_> = catalogue.map(|metric| (metric.name, metric.unit)).collect();
    let sent: Vec<_> = metrics
        .iter()
        .map(|metric| (&*metric.name, &*metric.unit))
        .collect();
    assert_eq!(sent, expected);
    for metric in &metrics {
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
    for (temporality, times) in [(Temporality::Cumulative, 2), (Temporality::Delta, 1)] {
        let exports = Exports::new(temporality);
        let first = histogram(&exports.accepted(&minute(1)));
        let second = histogram(&exports.accepted(&minute(2)));
        // In CLOSE_WAIT: 0.09 ms.
        let (count, sum, buckets) = &first[1];
        assert_eq!((*count, *sum), (1, 0.000_09));
        assert_eq!(buckets[2], 1, "30 to 100 µs: {buckets:?}");
        assert_eq!(second[1].0, times);
    }
}

#[test]
fn names_are_those_of_the_summary_and_none_comes_twice() {
    let metrics = Exports::new(Temporality::Delta).accepted(&minute(1));
    let points = |name: &str| -> Vec<String> {
        let Data::Gauge(gauge) = metric(&metrics, name) else {
            panic!("a gauge")
        };
        let points = gauge.data_points.iter().map(|point| {
            let labels = point.attributes.iter().map(|label| {
                let value = label.value.clone().and_then(|value| value.value);
                format!("{}={value:?} ", label.key)
            });
            labels.collect()
        });
        points.collect()
    };
    let names = |name: &str, label: &str| {
        let all = points(name);
        let distinct: BTreeSet<&String> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{all:?}");
        assert!(all.iter().any(|labels| labels.contains(label)), "{all:?}");
    };
    names(
        "tcpclose.process.closes",
        "process=Some(StringValue(\"mariadb\"))",
    );
    names(
        "tcpclose.process.resets",
        "process=Some(StringValue(\"mariadb\"))",
    );
    names(
        "tcpclose.peer.closes",
        "network.peer.address=Some(StringValue(\"127.0.0.1\"))",
    );
    names("tcpclose.peer.resets", "2001:db8::2");
    names(
        "tcpclose.process.stuck.sockets",
        "process.pid=Some(IntValue(",
    );
    names("tcpclose.peer.stuck.sockets", "10.0.0.2");
    names("tcpclose.process.descriptors_exhausted", "process=");
    names(
        "tcpclose.ephemeral_ports.used",
        "network.peer.port=Some(IntValue(3306))",
    );
}

/// The points of a message as lines of Prometheus' text.
fn lines(name: &str, message: &Metric) -> Vec<String> {
    let labels = |attributes: &[KeyValue]| {
        let labels = attributes.iter().map(|label| {
            let value = label.value.clone().and_then(|value| value.value);
            let text = match value {
                Some(any_value::Value::StringValue(text)) => text,
                Some(any_value::Value::IntValue(number)) => number.to_string(),
                _ => panic!("{name}: {value:?}"),
            };
            format!("{}=\"{text}\"", prometheus_label(&label.key))
        });
        match labels.collect::<Vec<_>>().join(",") {
            labels if labels.is_empty() => labels,
            labels => format!("{{{labels}}}"),
        }
    };
    let numbers = |points: &[NumberDataPoint]| -> Vec<String> {
        let lines = points.iter().map(|point| {
            let value = match point.value.expect("a value") {
                Value::AsInt(value) => value as f64,
                Value::AsDouble(value) => value,
            };
            format!("{name}{} {value}", labels(&point.attributes))
        });
        lines.collect()
    };
    match message.data.as_ref().expect("data") {
        Data::Sum(sum) => numbers(&sum.data_points),
        Data::Gauge(gauge) => numbers(&gauge.data_points),
        Data::Histogram(histogram) => {
            let points = histogram.data_points.iter();
            let lines = points.map(|point| {
                let labels = labels(&point.attributes);
                let (count, sum) = (point.count, point.sum.expect("a sum"));
                [
                    format!("{name}_count{labels} {count}"),
                    format!("{name}_sum{labels} {sum}"),
                ]
            });
            lines.flatten().collect()
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn prometheus_and_otlp_have_the_same_names_labels_and_values() {
    let interval = minute(3);
    let text = Exporter::new(10_000, Box::new(NoCgroups))
        .encode(&interval.now)
        .expect("text");
    let text: BTreeSet<&str> = text.lines().collect();
    let messages = Exports::new(Temporality::Cumulative).accepted(&interval);
    let catalogue = CATALOGUE.iter().flat_map(|section| section.metrics);
    let mut compared = 0;
    for metric in catalogue.filter(|metric| metric.is_for(ExportFormat::Otlp)) {
        // Labels that only OTLP has tell more series apart.
        let is_unbounded = |label: &&str| HIGH_CARDINALITY.contains(label);
        if !metric.is_for(ExportFormat::Prometheus) || metric.labels.iter().any(is_unbounded) {
            continue;
        }
        let message = messages.iter().find(|message| message.name == metric.name);
        for line in lines(&metric.prometheus_name(), message.expect("it is sent")) {
            assert!(text.contains(&*line), "no {line} in {text:#?}");
            compared += 1;
        }
    }
    assert!(compared > 80, "{compared}");
}
