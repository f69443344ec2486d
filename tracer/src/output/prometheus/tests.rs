use std::sync::Arc;

use super::*;
use crate::output::samples;
use crate::output::state::OutputState;
use crate::summary::Summaries;
use tcpclose_core::finding::Finding;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{Fit, Forecast, Verdict};
use tcpclose_core::summary::{Counts, StuckOwner};
use tcpclose_core::types::Nanos;

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
    let mut verdicts = Counts::default();
    for owner in &owners {
        verdicts.add(Verdict::EofRead, owner.stuck);
    }
    Snapshot {
        at: Nanos::from_secs(100),
        stuck: Some(StuckNow {
            oldest: Some(Nanos::from_secs(30)),
            verdicts,
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
fn closes_are_counted_by_path_and_initiator() {
    let mut summaries = Summaries::new(Nanos(0));
    for close in [samples::three_way(), samples::three_way(), samples::reset()] {
        summaries.take(&Finding::Close(Box::new(close)));
    }
    let snapshot = summaries.snapshot(Default::default(), Default::default());
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
    assert_line(
        &text,
        r#"tcpclose_state_duration_seconds_bucket{network_connection_state="close_wait",le="0.00003"} 0"#,
    );
    assert_line(
        &text,
        r#"tcpclose_state_duration_seconds_bucket{network_connection_state="close_wait",le="0.0001"} 2"#,
    );
    assert_line(
        &text,
        r#"tcpclose_state_duration_seconds_bucket{network_connection_state="close_wait",le="+Inf"} 2"#,
    );
    assert_line(
        &text,
        r#"tcpclose_state_duration_seconds_count{network_connection_state="close_wait"} 2"#,
    );
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
        r#"tcpclose_process_close_wait_stuck{process_title="web"} 7"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_descriptors_exhausted_seconds{process_title="web"} 60"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="a\"b\\n\\x1b[2J"} 1"#,
    );
    assert_line(&text, "tcpclose_close_wait_oldest_seconds 70");
}

/// Room for two names.
fn exporter_of_two() -> (Exporter, usize) {
    let most = fixed_series(0) + 2 * series_of_process();
    (Exporter::new(most), most)
}

#[track_caller]
fn encoded(exporter: &mut Exporter, at: u64, owners: &[(&str, u64)]) -> String {
    let owners: Vec<_> = owners
        .iter()
        .map(|(name, count)| owner(name, *count, Some(1)))
        .collect();
    let mut snapshot = stuck(owners);
    snapshot.at = Nanos::from_secs(at);
    snapshot.usage.bpf = Some(BpfRuns::default());
    exporter.encode(&snapshot).expect("it is text")
}

fn sum_of_processes(text: &str) -> u64 {
    let lines = text.lines();
    let lines = lines.filter(|line| line.starts_with("tcpclose_process_close_wait_stuck{"));
    let values = lines.map(|line| line.rsplit_once(' ').expect("a value").1);
    values
        .map(|value| value.parse::<u64>().expect("a number"))
        .sum()
}

#[test]
fn a_name_at_zero_makes_room_for_a_new_one_after_some_time_the_eldest_first() {
    let (mut exporter, most) = exporter_of_two();
    encoded(&mut exporter, 100, &[("a", 1), ("b", 1)]);
    encoded(&mut exporter, 160, &[("b", 1)]);
    let text = encoded(&mut exporter, 220, &[("c", 9)]);
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="a"} 0"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="b"} 0"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="other"} 9"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_descriptors_exhausted_seconds{process_title="other"} 1"#,
    );
    assert_line(&text, "tcpclose_series_dropped_total 5");
    let text = encoded(&mut exporter, 700, &[("c", 9)]);
    assert!(!text.contains(r#"process_title="a""#), "{text}");
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="b"} 0"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="c"} 9"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="other"} 0"#,
    );
    // One that has something stays, however old.
    for at in (760..5_000).step_by(60) {
        let text = encoded(&mut exporter, at, &[("c", 3), ("d", 2), ("e", 1)]);
        assert!(series(&text) <= most, "{text}");
        assert_line(
            &text,
            r#"tcpclose_process_close_wait_stuck{process_title="c"} 3"#,
        );
        assert_eq!(sum_of_processes(&text), 6, "{text}");
    }
    let text = encoded(&mut exporter, 5_060, &[("c", 3), ("d", 2), ("e", 1)]);
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="d"} 2"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="other"} 1"#,
    );
}

#[test]
fn the_sum_over_processes_is_the_total() {
    let mut snapshot = stuck(vec![owner("web", 5, None), owner("other", 2, None)]);
    let now = snapshot.stuck.as_mut().expect("some are");
    // Three more belong to processes that are not among the ten, and one to nobody.
    now.verdicts = Counts::default();
    now.verdicts.add(Verdict::EofRead, 11);
    (now.other, now.unowned) = (3, 1);
    let text = Exporter::new(1_000).encode(&snapshot).expect("it is text");
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="web"} 5"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="other"} 6"#,
    );
    assert_line(&text, "tcpclose_close_wait_stuck 11");
}

#[test]
fn what_must_be_there_fits_into_the_least_that_can_be_configured() {
    let mut snapshot = stuck(vec![owner("web", 1, Some(1))]);
    snapshot.outputs = vec![Output::default(); 2];
    snapshot.usage.bpf = Some(BpfRuns::default());
    let text = Exporter::new(fixed_series(2))
        .encode(&snapshot)
        .expect("it is text");
    assert_eq!(series(&text), fixed_series(2));
    assert_line(
        &text,
        r#"tcpclose_process_close_wait_stuck{process_title="other"} 1"#,
    );
    for name in [
        r#"state_duration_seconds_count{network_connection_state="time_wait"}"#,
        "ephemeral_ports_used_ratio",
        "output_up",
    ] {
        assert!(
            text.contains(&format!("\ntcpclose_{name}")),
            "{name} in {text}"
        );
    }
}

#[test]
fn an_output_that_was_removed_keeps_its_counts_but_is_not_down() {
    let snapshot = Snapshot {
        outputs: vec![Output {
            name: "file:/x".into(),
            dropped: 7,
            state: OutputState::Removed,
            ..Output::default()
        }],
        ..Snapshot::default()
    };
    let text = Exporter::new(1_000).encode(&snapshot).expect("it is text");
    assert_line(
        &text,
        r#"tcpclose_output_records_total{output="file:/x",outcome="dropped"} 7"#,
    );
    assert!(!text.contains("tcpclose_output_up"), "{text}");
}

#[test]
fn the_busiest_processes_are_named_and_all_others_counted_together() {
    let close = |comm: &str| {
        let mut close = samples::three_way();
        close.owner = match comm {
            "" => None,
            comm => Some(samples::owner(7, comm.as_bytes()).expect("it has one")),
        };
        Finding::Close(Box::new(close))
    };
    let mut summaries = Summaries::new(Nanos(0));
    for comm in ["web", "web", "db", ""] {
        summaries.take(&close(comm));
    }
    summaries.end_interval(Default::default(), Default::default());
    let snapshot = summaries.snapshot(Default::default(), Default::default());
    let text = Exporter::new(1_000).encode(&snapshot).expect("it is text");
    assert_line(&text, r#"tcpclose_process_closes{process_title="web"} 2"#);
    assert_line(&text, r#"tcpclose_process_closes{process_title="db"} 1"#);
    assert_line(&text, r#"tcpclose_process_closes{process_title="other"} 1"#);
    assert_line(&text, r#"tcpclose_process_resets{process_title="web"} 0"#);
}
