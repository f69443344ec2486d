use std::sync::Arc;

use super::*;
use crate::cgroup_names::NoCgroups;
use crate::output::samples;
use crate::output::summary_samples::idle_timeout;
use crate::output_status::{OutputCounts, OutputState};
use crate::summary::Summarizer;
use tcpclose_core::finding::{Finding, Side};
use tcpclose_core::process::{Container, ContainerNames, PodName, Process, Unit};
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
        through_listener: 0,
        oldest: Nanos(0),
        forecast: exhausted.map(|seconds| Forecast {
            fit,
            open: None,
            exhausted_in: Some(Nanos::from_secs(seconds)),
        }),
    }
}

fn stuck(owners: Vec<StuckOwner>) -> MetricsSnapshot {
    let mut verdicts = Counts::default();
    for owner in &owners {
        verdicts.add(Verdict::EofRead, owner.stuck);
    }
    MetricsSnapshot {
        at: Nanos::from_secs(100),
        stuck: Some(StuckSummary {
            oldest: Some(Nanos::from_secs(30)),
            verdicts,
            owners,
            ..StuckSummary::default()
        }),
        state: Some(metrics::StateWrites::default()),
        flight: Some(metrics::FlightCounts::default()),
        ..MetricsSnapshot::default()
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
    let mut summarizer = Summarizer::new(Nanos(0));
    for close in [samples::three_way(), samples::three_way(), samples::reset()] {
        summarizer.take(&Finding::Close(Box::new(close)));
    }
    let snapshot = summarizer.snapshot(Default::default(), Default::default());
    let text = Exporter::new(1_000, Box::new(NoCgroups))
        .encode(&snapshot)
        .expect("it is text");
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
        r#"tcpclose_resets_total{sender="local",reason="unread_data"} 1"#,
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
fn processes_of_one_name_share_a_series_and_hostile_names_are_escaped() {
    let snapshot = stuck(vec![
        owner("web", 5, Some(300)),
        owner("web", 2, Some(60)),
        owner("a\"b\n\x1b[2J", 1, None),
    ]);
    let text = Exporter::new(1_000, Box::new(NoCgroups))
        .encode(&snapshot)
        .expect("it is text");
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="web"} 7"#);
    assert_line(
        &text,
        r#"tcpclose_process_descriptors_exhausted_seconds{process="web"} 60"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="a\"b\\n\\x1b[2J"} 1"#,
    );
    assert_line(&text, "tcpclose_stuck_oldest_seconds 70");
}

/// Room for two names.
fn exporter_of_two() -> (Exporter, usize) {
    let most = fixed_series(0, 0) + 2 * series_of_process();
    (Exporter::new(most, Box::new(NoCgroups)), most)
}

#[track_caller]
fn encoded(exporter: &mut Exporter, at: u64, owners: &[(&str, u64)]) -> String {
    let owners: Vec<_> = owners
        .iter()
        .map(|(name, count)| owner(name, *count, Some(1)))
        .collect();
    let mut snapshot = stuck(owners);
    snapshot.at = Nanos::from_secs(at);
    snapshot.usage.bpf = Some(ProgramRunStats::default());
    exporter.encode(&snapshot).expect("it is text")
}

fn sum_of_processes(text: &str) -> u64 {
    let lines = text.lines();
    let lines = lines.filter(|line| line.starts_with("tcpclose_process_stuck_sockets{"));
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
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="a"} 0"#);
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="b"} 0"#);
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="other"} 9"#,
    );
    assert_line(
        &text,
        r#"tcpclose_process_descriptors_exhausted_seconds{process="other"} 1"#,
    );
    let dropped = series_of_process();
    assert_line(&text, &format!("tcpclose_series_dropped_total {dropped}"));
    let text = encoded(&mut exporter, 700, &[("c", 9)]);
    assert!(!text.contains(r#"process="a""#), "{text}");
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="b"} 0"#);
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="c"} 9"#);
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="other"} 0"#,
    );
    // One that has something stays, however old.
    for at in (760..5_000).step_by(60) {
        let text = encoded(&mut exporter, at, &[("c", 3), ("d", 2), ("e", 1)]);
        assert!(series(&text) <= most, "{text}");
        assert_line(&text, r#"tcpclose_process_stuck_sockets{process="c"} 3"#);
        assert_eq!(sum_of_processes(&text), 6, "{text}");
    }
    let text = encoded(&mut exporter, 5_060, &[("c", 3), ("d", 2), ("e", 1)]);
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="d"} 2"#);
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="other"} 1"#,
    );
}

#[test]
fn the_sum_over_processes_is_the_total() {
    let mut snapshot = stuck(vec![owner("web", 5, None), owner("other", 2, None)]);
    let now = snapshot.stuck.as_mut().expect("some are");
    // Three more belong to processes that are not among the ten, and one to no process.
    now.verdicts = Counts::default();
    now.verdicts.add(Verdict::EofRead, 11);
    (now.other, now.unowned) = (3, 1);
    let text = Exporter::new(1_000, Box::new(NoCgroups))
        .encode(&snapshot)
        .expect("it is text");
    assert_line(&text, r#"tcpclose_process_stuck_sockets{process="web"} 5"#);
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="other"} 6"#,
    );
    assert_line(&text, "tcpclose_stuck_sockets 11");
}

#[test]
fn the_fixed_series_fit_into_the_smallest_max_series() {
    let mut snapshot = stuck(vec![owner("web", 1, Some(1))]);
    snapshot.outputs = vec![OutputStatus::default(); 2];
    snapshot.usage.bpf = Some(ProgramRunStats::default());
    let timeouts = [Side::Local, Side::Peer].map(|closed_by| {
        let mut timeout = idle_timeout();
        timeout.of.closed_by = closed_by;
        timeout
    });
    snapshot.rankings.idle_timeouts = timeouts.into();
    let text = Exporter::new(fixed_series(2, 0), Box::new(NoCgroups))
        .encode(&snapshot)
        .expect("it is text");
    assert_eq!(series(&text), fixed_series(2, 0));
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="other"} 1"#,
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
    let snapshot = MetricsSnapshot {
        outputs: vec![OutputStatus {
            name: "file:/x".into(),
            counts: OutputCounts {
                dropped: 7,
                ..OutputCounts::default()
            },
            state: OutputState::Removed,
        }],
        ..MetricsSnapshot::default()
    };
    let text = Exporter::new(1_000, Box::new(NoCgroups))
        .encode(&snapshot)
        .expect("it is text");
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
    let mut summarizer = Summarizer::new(Nanos(0));
    for comm in ["web", "web", "db", ""] {
        summarizer.take(&close(comm));
    }
    summarizer.end_interval(Default::default(), Default::default());
    let snapshot = summarizer.snapshot(Default::default(), Default::default());
    let text = Exporter::new(1_000, Box::new(NoCgroups))
        .encode(&snapshot)
        .expect("it is text");
    assert_line(&text, r#"tcpclose_process_closes{process="web"} 2"#);
    assert_line(&text, r#"tcpclose_process_closes{process="db"} 1"#);
    assert_line(&text, r#"tcpclose_process_closes{process="other"} 1"#);
    assert_line(&text, r#"tcpclose_process_resets{process="web"} 0"#);
}

/// Its series say which container of which pod, or which service, it is.
#[test]
fn processes_are_distinguished_by_service_container_and_pod() {
    let container = |namespace: Option<&str>, pod: &str| Container {
        runtime: "containerd",
        id: pod.to_owned(),
        pod: None,
        names: Some(Arc::new(ContainerNames {
            container: Some("we\nb".to_owned()),
            pod: namespace.map(|namespace| PodName {
                namespace: namespace.to_owned(),
                name: pod.to_owned(),
            }),
        })),
    };
    let placed = |stuck, container, unit: Option<&str>| {
        let mut owner = owner("nginx", stuck, None);
        let mut process = Process::clone(&owner.process);
        process.container = container;
        process.unit = unit.map(|unit| Unit {
            name: unit.to_owned(),
            user: None,
        });
        owner.process = process.into();
        owner
    };
    let in_container = |stuck, container| placed(stuck, container, None);
    let snapshot = stuck(vec![
        in_container(5, Some(container(Some("shop"), "web-0"))),
        in_container(2, Some(container(Some("shop"), "web-1"))),
        in_container(3, Some(container(Some("blog"), "web-0"))),
        in_container(4, Some(container(None, "x"))),
        in_container(1, None),
        placed(6, None, Some("nginx@1.service")),
        placed(8, None, Some("session-7.scope")),
    ]);
    let mut exporter = Exporter::new(1_000, Box::new(NoCgroups));
    let text = exporter.encode(&snapshot).expect("it is text");
    for (labels, count) in [
        (
            r#",k8s_container_name="we\\nb",k8s_namespace_name="shop",k8s_pod_name="web-0""#,
            5,
        ),
        (
            r#",k8s_container_name="we\\nb",k8s_namespace_name="shop",k8s_pod_name="web-1""#,
            2,
        ),
        (
            r#",k8s_container_name="we\\nb",k8s_namespace_name="blog",k8s_pod_name="web-0""#,
            3,
        ),
        (r#",container_name="we\\nb""#, 4),
        (r#",unit="nginx@1.service""#, 6),
        ("", 9),
    ] {
        let line = format!(r#"tcpclose_process_stuck_sockets{{process="nginx"{labels}}} {count}"#);
        assert_line(&text, &line);
    }
    assert_eq!(sum_of_processes(&text), 29);
    // Those without room are one series, whatever container they are in.
    let mut exporter = Exporter::new(fixed_series(0, 0), Box::new(NoCgroups));
    let text = exporter.encode(&snapshot).expect("it is text");
    assert_line(
        &text,
        r#"tcpclose_process_stuck_sockets{process="other"} 29"#,
    );
}

#[test]
fn places_of_the_busiest_processes_are_looked_up() {
    let close = Finding::Close(Box::new(samples::three_way()));
    let mut summarizer = Summarizer::new(Nanos(0));
    summarizer.take(&close);
    summarizer.end_interval(Default::default(), Default::default());
    let snapshot = summarizer.snapshot(Default::default(), Default::default());
    let container = Container {
        runtime: "docker",
        id: "0123abcd".to_owned(),
        pod: None,
        names: Some(Arc::new(ContainerNames {
            container: Some("db".to_owned()),
            pod: None,
        })),
    };
    for (path, container, place) in [
        (
            "/docker/0123abcd",
            Some(container),
            r#"container_name="db""#,
        ),
        (
            "/system.slice/mariadb.service",
            None,
            r#"unit="mariadb.service""#,
        ),
    ] {
        let cgroups = samples::OneCgroup::new(path, container);
        let text = Exporter::new(1_000, Box::new(cgroups)).encode(&snapshot);
        assert_line(
            &text.expect("it is text"),
            &format!(r#"tcpclose_process_closes{{process="mariadb",{place}}} 1"#),
        );
    }
}
