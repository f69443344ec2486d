//! Outputs of type `otlp`, over both protocols.

mod long_answers;
mod refused_summaries;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
use tcpclose::output::sink::SinkConfig;

use crate::collector::{Answer, BOTH, Collector, Protocol};
use crate::findings::{
    Summed, assert_adds_up, close, long, loss, render_context, start, time_wait, wait_until,
};

fn config(protocol: Protocol, address: SocketAddr, more: &str) -> SinkConfig {
    toml::from_str(&format!(
        "type = 'otlp'\nprotocol = '{}'\nendpoint = 'http://{address}'\n{more}",
        protocol.name()
    ))
    .expect("right")
}

fn text(value: &str) -> Value {
    Value::StringValue(value.to_owned())
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<&str, Value> {
    let pairs = pairs.iter().map(|pair| {
        let value = pair.value.clone().and_then(|value| value.value);
        (&*pair.key, value.expect("a value"))
    });
    pairs.collect()
}

fn conn_ids(records: &[&LogRecord]) -> Vec<u64> {
    let ids =
        records.iter().map(
            |record| match attributes(&record.attributes).get("tcpclose.conn.id") {
                Some(Value::IntValue(id)) => u64::try_from(*id).expect("an id"),
                _ => 0,
            },
        );
    ids.collect()
}

#[test]
fn log_records_have_the_names_of_the_conventions() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        let more = "headers = { authorization = 'Bearer x' }\nresource = { 'deployment.environment.name' = 'test' }";
        let (mut sink, messages) = start(&config(protocol, collector.address, more));
        for finding in [close(13), time_wait(14), loss(5)] {
            sink.offer(&finding);
        }
        let counts = sink.finish(long());
        assert_eq!((counts.offered, counts.written), (3, 3), "{protocol:?}");
        let got = collector.got();
        let records = got.log_records();
        let [close, time_wait, loss] = *records else {
            panic!("{protocol:?}: {} records", records.len())
        };
        assert_eq!(close.event_name, "tcpclose.close");
        // Half past eight milliseconds after noon.
        assert_eq!(close.time_unix_nano, 1_769_860_800_008_500_000);
        assert_eq!((close.severity_number, &*close.severity_text), (9, "info"));
        let Some(AnyValue {
            value: Some(Value::StringValue(body)),
        }) = &close.body
        else {
            panic!("a sentence")
        };
        assert!(
            body.starts_with("mariadb[28089] 192.0.2.7:48350 > 192.0.2.9:3306 closed "),
            "{body}"
        );
        let facts = attributes(&close.attributes);
        for (name, value) in [
            ("network.transport", text("tcp")),
            ("network.type", text("ipv4")),
            ("network.local.address", text("192.0.2.7")),
            ("network.local.port", Value::IntValue(48_350)),
            ("network.peer.address", text("192.0.2.9")),
            ("network.peer.port", Value::IntValue(3_306)),
            ("process.pid", Value::IntValue(28_089)),
            ("process.title", text("mariadb")),
            ("tcpclose.close.path", text("three_way")),
            ("tcpclose.close.initiator", text("peer")),
            ("tcpclose.bytes.sent", Value::IntValue(210)),
            ("tcpclose.conn.lifetime_ms", Value::DoubleValue(8.4)),
            ("tcpclose.conn.seen_from_start", Value::BoolValue(true)),
        ] {
            assert_eq!(facts.get(name), Some(&value), "{name}");
        }
        let Some(Value::ArrayValue(states)) = facts.get("tcpclose.states") else {
            panic!("a list")
        };
        assert_eq!(states.values.len(), 3);
        assert_eq!(
            (time_wait.severity_number, &*time_wait.event_name),
            (5, "tcpclose.time_wait")
        );
        assert_eq!(
            (loss.severity_number, &*loss.event_name),
            (13, "tcpclose.loss")
        );
        assert!(!attributes(&loss.attributes).contains_key("network.transport"));

        let resource = got.logs[0].resource_logs[0]
            .resource
            .as_ref()
            .expect("a resource");
        let resource = attributes(&resource.attributes);
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        assert_eq!(resource["service.name"], text("tcpclose"));
        assert_eq!(resource["host.name"], text(host.trim()));
        assert_eq!(resource["deployment.environment.name"], text("test"));
        assert_eq!(got.tokens, ["Bearer x"]);
        assert!(messages.all().is_empty());
    }
}

fn whole(metric: &Metric, value: &[(&str, &str)]) -> i64 {
    let points = match metric.data.as_ref().expect("data") {
        Data::Sum(sum) => &sum.data_points,
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    };
    let wanted: BTreeMap<&str, Value> = value
        .iter()
        .map(|(name, value)| (*name, text(value)))
        .collect();
    let point = points
        .iter()
        .find(|point| attributes(&point.attributes) == wanted);
    match point.expect("a point").value {
        Some(number_data_point::Value::AsInt(value)) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_summary_becomes_metrics_and_no_log_record() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        let (mut sink, _) = start(&config(protocol, collector.address, ""));
        sink.offer(&close(1));
        let mut summed = Summed::new(0);
        sink.offer(&summed.up_to(60, 7));
        sink.offer(&close(2));
        sink.offer(&summed.up_to(120, 5));
        let counts = sink.finish(long());
        assert_eq!((counts.offered, counts.written), (4, 4), "{protocol:?}");
        let got = collector.got();
        assert_eq!(conn_ids(&got.log_records()), [1, 2]);
        let metrics = got.all_metrics();
        let named = |name: &str| -> Vec<&&Metric> {
            metrics
                .iter()
                .filter(|metric| metric.name == name)
                .collect()
        };
        let closes = named("tcpclose.closes");
        let three_way = [("path", "three_way"), ("initiator", "local")];
        let values: Vec<i64> = closes
            .iter()
            .map(|closes| whole(closes, &three_way))
            .collect();
        assert_eq!(values, [7, 12], "cumulative");
        let Some(Data::Sum(sum)) = &closes[1].data else {
            panic!("a sum")
        };
        let noon = 1_769_860_800_000_000_000_u64;
        assert_eq!(sum.data_points[0].start_time_unix_nano, noon);
        assert_eq!(sum.data_points[0].time_unix_nano, noon + 120_000_000_000);
        let Some(Data::Histogram(durations)) = &named("tcpclose.state.duration")[1].data else {
            panic!("a histogram")
        };
        let close_wait = &durations.data_points[1];
        let state = attributes(&close_wait.attributes);
        assert_eq!(state["network.connection.state"], text("close_wait"));
        assert_eq!((close_wait.count, close_wait.sum), (12, Some(12.0 * 0.25)));
        let bounds = close_wait.explicit_bounds.iter();
        let bucket = bounds.take_while(|end| **end < 0.25).count();
        assert_eq!(close_wait.bucket_counts[bucket], 12, "up to 0.5 s");
    }
}

#[test]
fn a_busy_receiver_is_tried_again_and_one_that_refuses_is_not() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        collector.will([
            Answer::Busy(0),
            Answer::Take,
            Answer::Refuse,
            Answer::Reject(1),
        ]);
        let (mut sink, messages) = start(&config(protocol, collector.address, ""));
        sink.offer(&close(1));
        wait_until("the first is taken", || sink.counts().written == 1);
        messages.wait_for("is down: the receiver answered ");
        messages.wait_for("is up again");
        sink.offer(&close(2));
        wait_until("the second is refused", || sink.counts().failed == 1);
        messages.wait_for("refused 1 record, which is not sent again: ");
        sink.offer(&close(3));
        sink.offer(&close(4));
        let counts = sink.finish(long());
        assert_adds_up(counts);
        assert_eq!((counts.written, counts.failed), (2, 2), "{protocol:?}");
        assert!(
            messages.all()[2].contains("not like this"),
            "{:?}",
            messages.all()
        );
    }
}

#[test]
fn a_receiver_that_does_not_say_when_is_left_alone_for_a_while() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        collector.will([Answer::Sleep(0), Answer::Sleep(0), Answer::Take]);
        let (mut sink, messages) = start(&config(protocol, collector.address, ""));
        sink.offer(&close(1));
        messages.wait_for("is down: the receiver answered ");
        wait_until("it is taken", || sink.counts().written == 1);
        assert_eq!(collector.got().tokens.len(), 3, "{protocol:?}");
        let between = collector.got().between();
        // The least pauses are half of 0.1 s and of 0.2 s.
        let least = [50, 100].map(std::time::Duration::from_millis);
        assert!(
            between.iter().zip(least).all(|(it, least)| *it >= least),
            "{between:?}"
        );
        let _ = sink.finish(long());
    }
}

#[test]
fn waiting_records_are_sent_with_the_new_token() {
    for protocol in BOTH {
        let first = Collector::start(protocol);
        let address = first.address;
        drop(first);
        let token = |token: &str| format!("headers = {{ authorization = 'Bearer {token}' }}");
        let (mut sink, messages) = start(&config(protocol, address, &token("old")));
        for id in 1..=100 {
            sink.offer(&close(id));
        }
        messages.wait_for("is down: ");
        let changed = config(protocol, address, &token("new"));
        assert!(sink.can_adopt(&changed));
        // The change comes first, or what waits might still go with the old token.
        sink.adopt(&changed, || Ok(render_context()));
        let collector = Collector::start_at(protocol, address);
        let counts = sink.finish(long());
        assert_adds_up(counts);
        assert_eq!((counts.offered, counts.written), (100, 100), "{protocol:?}");
        let got = collector.got();
        assert_eq!(conn_ids(&got.log_records()), Vec::from_iter(1..=100));
        assert!(
            got.tokens.iter().all(|token| token == "Bearer new"),
            "{:?}",
            got.tokens
        );
    }
}

#[test]
fn a_receiver_that_was_killed_is_found_again() {
    for protocol in BOTH {
        let first = Collector::start(protocol);
        let address = first.address;
        let (mut sink, messages) = start(&config(protocol, address, ""));
        for id in 1..=1_000 {
            sink.offer(&close(id));
        }
        wait_until("all are taken", || sink.counts().written == 1_000);
        assert!(
            conn_ids(&first.got().log_records())
                .into_iter()
                .eq(1..=1_000)
        );
        drop(first);
        for id in 1_001..=2_000 {
            sink.offer(&close(id));
        }
        messages.wait_for("is down: ");
        let outage = sink.outage().expect("it is down").reason;
        assert!(outage.contains("refused"), "{protocol:?}: {outage}");
        let second = Collector::start_at(protocol, address);
        messages.wait_for("is up again");
        let counts = sink.finish(long());
        assert_adds_up(counts);
        assert_eq!((counts.offered, counts.written), (2_000, 2_000));
        let got = second.got();
        assert!(
            conn_ids(&got.log_records()).into_iter().eq(1_001..=2_000),
            "{protocol:?}"
        );
        assert_eq!(messages.all().len(), 2, "{:?}", messages.all());
    }
}

/// A collector that was restarted while nothing was to be sent is no outage.
#[test]
fn a_connection_that_went_while_idle_is_made_again_in_silence() {
    for protocol in BOTH {
        let first = Collector::start(protocol);
        let address = first.address;
        let (mut sink, messages) = start(&config(protocol, address, ""));
        sink.offer(&close(1));
        wait_until("the first is taken", || sink.counts().written == 1);
        drop(first);
        let second = Collector::start_at(protocol, address);
        sink.offer(&close(2));
        assert_eq!(sink.finish(long()).written, 2);
        assert_eq!(conn_ids(&second.got().log_records()), [2]);
        assert!(
            messages.all().is_empty(),
            "{protocol:?}: {:?}",
            messages.all()
        );
    }
}

#[test]
fn a_receiver_that_never_answers_delays_no_other_output() {
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        collector.will([Answer::Sleep(5)]);
        let (mut sink, _) = start(&config(protocol, collector.address, "queue = 10"));
        for id in 1..=100 {
            sink.offer(&close(id));
        }
        wait_until("the request is there", || collector.got().tokens.len() == 1);
        let counts = sink.finish(std::time::Instant::now());
        assert_adds_up(counts);
        assert_eq!((counts.dropped, counts.queued, counts.written), (90, 10, 0));
    }
}
