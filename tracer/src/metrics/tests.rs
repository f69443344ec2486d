use std::collections::BTreeSet;

use super::*;
use crate::output::summary_samples;
use tcpclose_core::summary::Histogram;

fn all() -> impl Iterator<Item = &'static Metric> {
    CATALOGUE.iter().flat_map(|section| section.metrics)
}

fn metric(name: &'static str, unit: &'static str, instrument: Instrument) -> Metric {
    Metric::new(name, unit, "", &[], instrument)
}

#[test]
fn prometheus_names_follow_opentelemetrys_rule() {
    const COUNTER: Instrument = Instrument::Counter(|_| Vec::new());
    const GAUGE: Instrument = Instrument::Gauge(|_| Vec::new());
    const HISTOGRAM: Instrument = Instrument::Histogram(|_| Vec::new());
    for (name, unit, instrument, expected) in [
        ("a.b_c", "{record}", COUNTER, "a_b_c_total"),
        ("a.b", "s", COUNTER, "a_b_seconds_total"),
        ("a.b", "s", GAUGE, "a_b_seconds"),
        ("a.b", "s", HISTOGRAM, "a_b_seconds"),
        ("a.b", "By", GAUGE, "a_b_bytes"),
        ("a.b", "By", COUNTER, "a_b_bytes_total"),
        ("a.b", "1", GAUGE, "a_b_ratio"),
        ("a.b", "1", COUNTER, "a_b_total"),
        ("a.b", "{x}", GAUGE, "a_b"),
        ("a.b", "{x}/s", GAUGE, "a_b_per_second"),
        ("a.b", "By/s", GAUGE, "a_b_bytes_per_second"),
        // A suffix that the name has already is not repeated.
        ("a.seconds", "s", GAUGE, "a_seconds"),
        ("a.total", "{x}", COUNTER, "a_total"),
        ("a.ratio", "1", GAUGE, "a_ratio"),
        // A word that only ends like the unit is not the unit.
        ("a.milliseconds", "s", GAUGE, "a_milliseconds_seconds"),
    ] {
        let derived = metric(name, unit, instrument).prometheus_name();
        assert_eq!(derived, expected, "{name} {unit}");
    }
    assert_eq!(
        prometheus_label("network.peer.address"),
        "network_peer_address"
    );
}

/// Prometheus' own names for what every process has, and those that rules and dashboards use.
#[test]
fn names_that_operators_know_are_derived() {
    let derived: BTreeSet<String> = all().map(Metric::prometheus_name).collect();
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_start_time_seconds",
        "tcpclose_opened_total",
        "tcpclose_closes_total",
        "tcpclose_resets_total",
        "tcpclose_time_wait_ends_total",
        "tcpclose_live_connections",
        "tcpclose_waiting_for_fin_connections",
        "tcpclose_time_wait_connections",
        "tcpclose_ephemeral_ports_used_ratio",
        "tcpclose_process_closes",
        "tcpclose_process_resets",
        "tcpclose_stuck_sockets",
        "tcpclose_stuck_verdicts",
        "tcpclose_stuck_oldest_seconds",
        "tcpclose_process_stuck_sockets",
        "tcpclose_process_stuck_growth_per_second",
        "tcpclose_process_descriptors_exhausted_seconds",
        "tcpclose_events_lost_total",
        "tcpclose_output_records_total",
        "tcpclose_output_queued_records",
        "tcpclose_output_up",
        "tcpclose_bpf_run_seconds_total",
        "tcpclose_bpf_runs_total",
        "tcpclose_series_dropped_total",
        "tcpclose_build_info",
    ] {
        assert!(derived.contains(name), "{name} in {derived:?}");
    }
}

#[test]
fn every_metric_has_a_name_of_its_own_a_unit_and_a_help_text() {
    let mut names = BTreeSet::new();
    for metric in all() {
        let name = metric.name;
        assert!(names.insert(name), "{name} stands twice");
        assert!(names.insert(metric.prometheus_name().leak()), "{name}");
        assert!(
            name.starts_with("tcpclose.") || name.starts_with("process."),
            "{name}"
        );
        assert!(!metric.unit.is_empty(), "{name}");
        assert!(metric.help.ends_with('.'), "{name}");
    }
}

/// Notes the points that it is shown.
struct RecordedTier<const OTLP: bool>(Vec<(&'static Metric, Labels)>);

impl<const OTLP: bool> Visitor for RecordedTier<OTLP> {
    const FORMAT: ExportFormat = if OTLP {
        ExportFormat::Otlp
    } else {
        ExportFormat::Prometheus
    };

    fn numbers(&mut self, metric: &'static Metric, points: Points<Number>) {
        self.0
            .extend(points.into_iter().map(|(labels, _)| (metric, labels)));
    }

    fn histograms(&mut self, metric: &'static Metric, points: Points<Histogram>) {
        self.0
            .extend(points.into_iter().map(|(labels, _)| (metric, labels)));
    }
}

fn assert_shows_what_it_describes<const OTLP: bool>() {
    let mut seen = RecordedTier::<OTLP>(Vec::new());
    visit(&summary_samples::snapshot(), &mut seen);
    let consumer = RecordedTier::<OTLP>::FORMAT;
    for metric in all() {
        let of_this = seen.0.iter().filter(|(seen, _)| seen.name == metric.name);
        let points: Vec<&Labels> = of_this.map(|(_, labels)| labels).collect();
        let is_counted_elsewhere = matches!(metric.instrument, Instrument::CountedByExporter);
        assert_eq!(
            !points.is_empty(),
            metric.is_for(consumer) && !is_counted_elsewhere,
            "{}",
            metric.name
        );
        for (at, labels) in points.iter().enumerate() {
            assert!(
                !points[..at].contains(labels),
                "{}: {labels:?} twice",
                metric.name
            );
        }
        if points.is_empty() {
            continue;
        }
        let labels = points.iter().flat_map(|labels| labels.iter());
        let shown: BTreeSet<&str> = labels.map(Label::name).collect();
        let described = metric.labels.iter().copied();
        let described: BTreeSet<&str> = described
            .filter(|label| OTLP || !HIGH_CARDINALITY.contains(label))
            .collect();
        assert_eq!(shown, described, "{}", metric.name);
    }
}

#[test]
fn each_metric_has_the_labels_that_it_describes_and_no_point_comes_twice() {
    assert_shows_what_it_describes::<true>();
    assert_shows_what_it_describes::<false>();
}

#[test]
fn numbers_are_numbers_and_words_are_those_of_the_records() {
    use tcpclose_core::finding::ClosePath;
    use tcpclose_core::types::{NetNs, Port};
    let text = |text: &str| LabelValue::Text(text.to_owned());
    for (label, value) in [
        (Label::Pid(7), LabelValue::Number(7)),
        (
            Label::PeerPort(Port::new(443).expect("a port")),
            LabelValue::Number(443),
        ),
        (
            Label::Netns(NetNs::new(4_026_531_840).expect("a number")),
            LabelValue::Number(4_026_531_840),
        ),
        (Label::Path(ClosePath::ThreeWay), text("three_way")),
        (Label::ResetReason(None), text("unknown")),
        (
            Label::State(tcpclose_common::TcpState::FinWait2),
            text("fin_wait_2"),
        ),
        (Label::PeerAddress([192, 0, 2, 1].into()), text("192.0.2.1")),
        (
            Label::Process(ProcessName::from_comm(b"other")),
            text("other"),
        ),
        (
            Label::Process(ProcessName::from_comm(b"a\nb")),
            text("a\\nb"),
        ),
    ] {
        assert_eq!(label.value(), value, "{label:?}");
    }
    assert_eq!(ProcessName::from_comm(b"other"), ProcessName::Other);
}

#[test]
fn numbers_of_one_series_become_one() {
    use Number::{Count, Measured};
    assert_eq!(Count(2).merge(Count(3), Merge::Sum), Count(5));
    assert_eq!(Count(2).merge(Count(3), Merge::Max), Count(3));
    assert_eq!(
        Measured(0.5).merge(Measured(0.25), Merge::Min),
        Measured(0.25)
    );
    assert_eq!(Measured(0.5).merge(Count(1), Merge::Sum), Measured(1.5));
}
