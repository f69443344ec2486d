use std::sync::Arc;

use super::*;
use crate::lifecycle::finding::Finding;
use crate::lifecycle::leak::{Fit, Forecast};
use crate::lifecycle::process::Process;
use crate::lifecycle::summary::Summaries;
use crate::output::samples;

fn owner(comm: &str, stuck: u64, exhausted: Option<u64>) -> StuckOwner {
    let fit = Fit {
        per_second: 1.0,
        r_squared: 1.0,
        samples: 3,
        span: Nanos::from_secs(120),
    };
    StuckOwner {
        process: Arc::new(Process {
            comm: comm.as_bytes().into(),
            ..Process::default()
        }),
        stuck,
        oldest: Nanos(0),
        forecast: exhausted.map(|seconds| Forecast {
            fit,
            exhausted_in: Some(Nanos::from_secs(seconds)),
        }),
    }
}

fn stuck(owners: Vec<StuckOwner>) -> Snapshot {
    Snapshot {
        at: Nanos::from_secs(100),
        stuck: Some(StuckNow {
            oldest: Some(Nanos::from_secs(30)),
            owners,
            ..StuckNow::default()
        }),
        ..Snapshot::default()
    }
}

fn series(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|other| other == line),
        "no {line} in {text}"
    );
}

#[test]
fn closes_are_told_by_path_and_initiator() {
    let mut summaries = Summaries::new(Nanos(0));
    for close in [samples::three_way(), samples::three_way(), samples::reset()] {
        summaries.take(&Finding::Close(Box::new(close)));
    }
    let snapshot = Snapshot {
        totals: summaries.totals().clone(),
        ..Snapshot::default()
    };
    let text = Exporter::new(1_000).encode(&snapshot).expect("it is text");
    assert_line(&text, "# TYPE tcpclose_closes_total counter");
    assert_line(
        &text,
        r#"tcpclose_closes_total{path="three_way",initiator="peer"} 2"#,
    );
    assert_line(
        &text,
        r#"tcpclose_closes_total{path="four_way",initiator="peer"} 0"#,
    );
    assert_line(
        &text,
        r#"tcpclose_resets_total{by="local",reason="unread_data"} 1"#,
    );
    // 0.09 ms and 0.09 ms.
    assert_line(&text, r#"tcpclose_close_wait_seconds_bucket{le="0.001"} 2"#);
    assert_line(&text, r#"tcpclose_close_wait_seconds_bucket{le="+Inf"} 2"#);
    assert_line(&text, "tcpclose_close_wait_seconds_count 2");
    assert_line(&text, "tcpclose_series_dropped_total 0");
}

#[test]
fn processes_of_one_name_are_one_series_and_hostile_names_do_no_harm() {
    let snapshot = stuck(vec![
        owner("web", 5, Some(300)),
        owner("web", 2, Some(60)),
        owner("a\"b\n\x1b[2J", 1, None),
    ]);
    let text = Exporter::new(1_000).encode(&snapshot).expect("it is text");
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process="web"} 7"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_descriptors_exhausted_seconds{process="web"} 60"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process="a\"b\\n\\x1b[2J"} 1"#,
    );
    assert_line(&text, "tcpclose_close_wait_oldest_seconds 70");
}

#[test]
fn names_never_grow_beyond_the_cap_and_one_that_is_known_stays() {
    let plain = Exporter::new(1_000)
        .encode(&stuck(vec![]))
        .expect("it is text");
    let most = series(&plain) + 2 * SERIES_OF_PROCESS;
    let mut exporter = Exporter::new(most);
    let first = stuck(vec![owner("a", 1, Some(1)), owner("b", 1, Some(1))]);
    assert_eq!(series(&exporter.encode(&first).expect("it is text")), most);
    for number in 0..100 {
        let other = owner(&format!("c{number}"), 9, Some(1));
        let text = exporter
            .encode(&stuck(vec![other, owner("b", 3, None)]))
            .expect("it is text");
        assert!(series(&text) <= most, "{text}");
        assert_line(&text, r#"tcpclose_process_close_wait_stuck{process="a"} 0"#);
        assert_line(&text, r#"tcpclose_process_close_wait_stuck{process="b"} 3"#);
        let dropped = SERIES_OF_PROCESS * (number + 1);
        assert_line(&text, &format!("tcpclose_series_dropped_total {dropped}"));
    }
}

#[test]
fn a_cap_below_the_fixed_series_holds_as_well() {
    let text = Exporter::new(40)
        .encode(&stuck(vec![owner("a", 1, None)]))
        .expect("it is text");
    assert!(series(&text) <= 40, "{text}");
    assert!(text.contains("tcpclose_series_dropped_total"), "{text}");
    assert!(!text.contains("tcpclose_series_dropped_total 0"), "{text}");
}

/// Names in code and docs are the same.
#[test]
fn every_metric_is_documented_and_no_other() {
    let mut snapshot = stuck(vec![owner("web", 1, Some(1))]);
    snapshot.outputs = vec![OutputState::default()];
    snapshot.tracer.bpf = Some(Default::default());
    let text = Exporter::new(1_000).encode(&snapshot).expect("it is text");
    let told: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    let docs = include_str!("../../../../docs/metrics.md");
    let documented: BTreeSet<&str> = docs
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(told, documented);
}
