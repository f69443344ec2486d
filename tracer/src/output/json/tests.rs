use std::net::SocketAddr;
use std::sync::Arc;

use super::*;
use crate::cgroup_names::NoCgroups;
use crate::escape::is_hostile;
use crate::output::samples::{self, OneCgroup, us};
use crate::output::summary_samples;
use tcpclose_core::finding::{Bytes, Cause, Close, ClosePath, Initiator, Loss, LossLocation};
use tcpclose_core::process::{Container, ContainerNames, PodName};
use tcpclose_core::summary::Rollups;
use tcpclose_core::types::{Owner, OwnerSource, Role};
use tcpclose_sys::host::cgroup::CgroupName;

fn line_with(close: Close, cgroups: &mut dyn CgroupNames) -> String {
    let mut line = Vec::new();
    let finding = Finding::Close(Box::new(close));
    write_finding(&mut line, &finding, &samples::clock(), cgroups)
        .expect("memory takes everything");
    let text = String::from_utf8(line).expect("JSON is UTF-8");
    text.strip_suffix('\n').expect("one line").to_owned()
}

fn line(close: Close) -> String {
    line_with(close, &mut NoCgroups)
}

fn parsed(close: Close) -> serde_json::Value {
    serde_json::from_str(&line(close)).expect("valid JSON")
}

#[test]
fn a_close_is_the_documented_record() {
    let cgroup = &mut OneCgroup::new("/system.slice/cron.service", None);
    assert_eq!(
        line_with(samples::three_way(), cgroup),
        concat!(
            r#"{"v":1,"kind":"close","ts":"2026-01-31T12:00:00.008500Z","netns":4026531840,"#,
            r#""conn":{"id":13,"pair":"eb7114d420404e12","family":"ipv4","local":{"addr":"127.0.0.1","port":48350},"#,
            r#""peer":{"addr":"127.0.0.1","port":3306},"role":"client","seen_from_start":true,"#,
            r#""opened":"2026-01-31T12:00:00.000100Z","lifetime_ms":8.4,"peer_owner":null},"#,
            r#""owner":{"pid":28089,"comm":"mariadb","uid":0,"cgroup":"/system.slice/cron.service","#,
            r#""container":null,"source":"connect","thread":null},"#,
            r#""close":{"path":"three_way","initiator":"peer","abnormal":false,"cause":null,"#,
            r#""peer_cause":null,"errno":null,"lost":null,"idle_ms":4.0,"segments":3,"steps":["#,
            r#"{"from":"peer","flags":"FIN,ACK","seq":175,"ack":212,"at_ms":0.0,"known":"observed"},"#,
            r#"{"from":"local","flags":"FIN,ACK","seq":212,"ack":176,"at_ms":0.09,"known":"observed"},"#,
            r#"{"from":"peer","flags":"ACK","seq":176,"ack":213,"at_ms":null,"known":"inferred"}]},"#,
            r#""states":[{"state":"ESTABLISHED","ms":8.36},{"state":"CLOSE_WAIT","ms":0.09},"#,
            r#"{"state":"LAST_ACK","ms":0.05}],"bytes":{"sent":211,"received":174},"#,
            r#""retransmits":0,"reset":null,"half_close":null,"time_wait":null}"#,
        )
    );
}

/// Names each cgroup by its id.
#[derive(Default)]
struct NamedById(Option<CgroupName>);

impl CgroupNames for NamedById {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        self.0 = Some(CgroupName {
            path: format!("/{id}"),
            container: None,
        });
        self.0.as_ref()
    }
}

#[test]
fn the_process_at_the_other_end_has_its_own_cgroup() {
    for (cgroup, name) in [(77, "/77"), (78, "/78")] {
        let mut close = samples::three_way();
        let owner = samples::owner(1733, b"mariadbd").expect("it is there");
        close.endpoint.peer_owner = Some(Arc::new(Owner {
            cgroup: CgroupId::new(cgroup),
            source: OwnerSource::Listen,
            ..Owner::clone(&owner)
        }));
        let line = line_with(close, &mut NamedById::default());
        let record: serde_json::Value = serde_json::from_str(&line).expect("valid JSON");
        assert_eq!(record["owner"]["cgroup"], "/77");
        let expected = serde_json::json!({
            "pid": 1733, "comm": "mariadbd", "uid": 0, "cgroup": name, "container": null,
            "source": "listen", "thread": null,
        });
        assert_eq!(record["conn"]["peer_owner"], expected);
    }
}

#[test]
fn what_is_unknown_is_null() {
    assert_eq!(
        line(samples::unknown()),
        concat!(
            r#"{"v":1,"kind":"close","ts":"2026-01-31T12:00:00.008500Z","netns":null,"#,
            r#""conn":{"id":14,"pair":null,"family":"ipv4","local":{"addr":"10.0.0.1","port":22},"#,
            r#""peer":{"addr":"10.0.0.2","port":60000},"role":"unknown","seen_from_start":false,"#,
            r#""opened":null,"lifetime_ms":null,"peer_owner":null},"owner":null,"#,
            r#""close":{"path":"unknown","initiator":"unknown","abnormal":null,"cause":null,"#,
            r#""peer_cause":null,"errno":null,"lost":null,"idle_ms":null,"segments":null,"steps":[]},"#,
            r#""states":[{"state":"ESTABLISHED","ms":null},{"state":"LAST_ACK","ms":0.05}],"#,
            r#""bytes":{"sent":null,"received":null},"retransmits":null,"reset":null,"#,
            r#""half_close":null,"time_wait":null}"#,
        )
    );
}

#[test]
fn a_reset_names_its_cause() {
    let record = parsed(samples::reset());
    let expected = serde_json::json!({
        "by": "local", "reason": "unread_data", "kernel_reason": "TCP_ABORT_ON_CLOSE",
    });
    assert_eq!(record["reset"], expected);
    assert_eq!(record["conn"]["family"], "ipv6");
    assert_eq!(
        record["conn"]["local"],
        serde_json::json!({"addr": "2001:db8::1", "port": 443})
    );
    assert_eq!(record["close"]["steps"][0]["flags"], "RST,ACK");
}

#[test]
fn a_half_close_has_its_time_and_bytes() {
    let expected = serde_json::json!({
        "by": "local", "ms": 1500.04, "bytes_sent": 0, "bytes_received": 65536,
    });
    assert_eq!(parsed(samples::half_closed())["half_close"], expected);
}

#[test]
fn a_container_has_runtime_id_and_pod() {
    let container = Container {
        runtime: "containerd",
        id: "0123abcd".to_owned(),
        pod: Some("web-0".to_owned()),
        names: None,
    };
    let text = line_with(
        samples::reset(),
        &mut OneCgroup::new("/kubepods/x", Some(container)),
    );
    let expected = r#""container":{"runtime":"containerd","id":"0123abcd","pod":"web-0"}"#;
    assert!(text.contains(expected), "{text}");
}

#[test]
fn a_container_has_the_names_that_are_known_and_no_fields_for_the_others() {
    let pod = PodName {
        namespace: "shop".to_owned(),
        name: "web-0".to_owned(),
    };
    for (container, pod, expected) in [
        (
            Some("nginx"),
            Some(pod.clone()),
            r#","name":"nginx","pod_name":"web-0","pod_namespace":"shop"},"#,
        ),
        (
            None,
            Some(pod),
            r#","pod_name":"web-0","pod_namespace":"shop"},"#,
        ),
        (Some("a\u{9b}\n"), None, r#","name":"a\u009b\n"},"#),
    ] {
        let container = Container {
            runtime: "containerd",
            id: "0123abcd".to_owned(),
            pod: None,
            names: Some(Arc::new(ContainerNames {
                container: container.map(str::to_owned),
                pod,
            })),
        };
        let cgroups = &mut OneCgroup::new("/kubepods/x", Some(container));
        let text = line_with(samples::reset(), cgroups);
        let expected = format!(r#"{{"runtime":"containerd","id":"0123abcd","pod":null{expected}"#);
        assert!(text.contains(&expected), "{expected} in {text}");
    }
}

#[test]
fn steps_count_from_the_first_one_with_a_time() {
    let mut close = samples::three_way();
    close.steps[0].at = None;
    close.steps[2].at = Some(us(9_550));
    let record = parsed(close);
    let times: Vec<_> = (0..3)
        .map(|index| record["close"]["steps"][index]["at_ms"].as_f64())
        .collect();
    assert_eq!(times, [None, Some(0.0), Some(1.0)]);
}

#[test]
fn a_hostile_name_reaches_no_terminal_raw() {
    let mut close = samples::three_way();
    let comm = "\x1b[2J\n\x7f\u{9b}\u{2028}\u{202e}\"\\".as_bytes();
    close.owner = samples::owner(1, &[comm, b"\xff"].concat());
    let text = line_with(
        close.clone(),
        &mut OneCgroup::new("/a\u{85}b\u{2066}", None),
    );
    let expected = r#""comm":"\u001b[2J\n\u007f\u009b\u2028\u202e\"\\"#;
    assert!(text.contains(&format!("{expected}\u{fffd}\"")), "{text}");
    assert!(text.contains(r#""cgroup":"/a\u0085b\u2066""#), "{text}");
    assert!(!text.chars().any(is_hostile), "{text:?}");

    let comm = parsed(close)["owner"]["comm"].as_str().map(str::to_owned);
    assert_eq!(
        comm.as_deref(),
        Some("\x1b[2J\n\x7f\u{9b}\u{2028}\u{202e}\"\\\u{fffd}")
    );
}

#[test]
fn a_loss_is_a_record() {
    let loss = Finding::Loss(Loss {
        at: us(1),
        lost: 12,
        location: LossLocation::Ring,
        repaired: false,
        duration: None,
    });
    let mut line = Vec::new();
    write_finding(&mut line, &loss, &samples::clock(), &mut NoCgroups)
        .expect("memory takes everything");
    let expected = concat!(
        r#"{"v":1,"kind":"loss","ts":"2026-01-31T12:00:00.000001Z","lost":12,"where":"ring","repaired":false,"duration_ms":null}"#,
        "\n"
    );
    assert_eq!(String::from_utf8_lossy(&line), expected);
}

#[test]
fn a_transition_is_a_record() {
    let mut line = Vec::new();
    let transition = samples::transition();
    write_transition(&mut line, &transition, Some(us(8_360)), &samples::clock())
        .expect("memory takes everything");
    let expected = concat!(
        r#"{"v":1,"kind":"transition","ts":"2026-01-31T12:00:00.008500Z","netns":4026531840,"id":13,"#,
        r#""skaddr":"ffff88810a2b3c40","family":"ipv4","local":{"addr":"127.0.0.1","port":48350},"#,
        r#""peer":{"addr":"127.0.0.1","port":3306},"old":"ESTABLISHED","new":"FIN_WAIT1","ms":8.36,"#,
        r#""task":{"pid":28089,"comm":"curl","uid":1000}}"#,
        "\n"
    );
    assert_eq!(String::from_utf8_lossy(&line), expected);
}

#[test]
fn a_transition_without_a_task_has_a_null_task() {
    let mut line = Vec::new();
    let transition = tcpclose_core::event::Transition {
        skaddr: None,
        task: None,
        ..samples::transition()
    };
    write_transition(&mut line, &transition, None, &samples::clock())
        .expect("memory takes everything");
    let text = String::from_utf8_lossy(&line);
    assert!(text.contains(r#""skaddr":null,"#), "{text}");
    assert!(text.ends_with("\"ms\":null,\"task\":null}\n"), "{text}");
}

#[test]
fn a_resolved_stuck_socket_reports_how() {
    let finding = Finding::Stuck(Box::new(samples::resolved()));
    let mut line = Vec::new();
    let cgroup = &mut OneCgroup::new("/system.slice/web.service", None);
    write_finding(&mut line, &finding, &samples::clock(), cgroup).expect("memory takes everything");
    let record: serde_json::Value = serde_json::from_slice(&line).expect("valid JSON");
    assert_eq!(record["event"], "resolved");
    assert_eq!(record["conn"]["seen_from_start"], true);
    let leak = &record["stuck"];
    assert_eq!(leak["resolved_by"], "process_exited");
    assert_eq!(leak["age_known"], "observed");
    assert_eq!(leak["age_ms"], 125_000.0);
    assert_eq!(leak["cgroup"], "/system.slice/web.service");
    let process = &record["process"];
    assert_eq!(process["stuck"], 31);
    assert!(process["growth"].is_null(), "it grows no more: {process}");
}

fn summary() -> serde_json::Value {
    let mut line = Vec::new();
    let record = Record::Summary(Box::new(summary_samples::summary()));
    let cgroups = &mut OneCgroup::new("/system.slice/app.service", None);
    write_record(
        &mut line,
        &record,
        &samples::clock(),
        cgroups,
        &JsonOptions::default(),
    )
    .expect("memory takes everything");
    serde_json::from_slice(&line).expect("valid JSON")
}

/// The example in docs/json.md is the sample, so that neither the docs nor the schema can differ
/// from it.
#[test]
fn a_summary_is_the_documented_record() {
    assert_eq!(summary(), documented("summary"));
}

/// As with the summary.
#[test]
fn a_rollup_of_an_agent_that_samples_is_the_documented_record() {
    let mut rollups = Rollups::new(Nanos::from_secs(120));
    for number in 0..4 {
        let sample = samples::three_way();
        let tuple = ("10.0.0.1:443", "10.0.0.2:40000");
        let end = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let is_reset = number == 3;
        let close = Close {
            path: if is_reset {
                ClosePath::Reset
            } else {
                sample.path
            },
            initiator: if is_reset {
                Initiator::Local
            } else {
                sample.initiator
            },
            cause: is_reset.then_some(Cause::UnreadData),
            bytes: Bytes {
                sent: Some(210),
                received: (!is_reset).then_some(173),
            },
            endpoint: Endpoint {
                tuple: (end(tuple.0), end(tuple.1)).into(),
                role: Role::Server,
                lifetime: Some(Nanos(8_400_000)),
                ..sample.endpoint
            },
            ..sample
        };
        rollups.record(&Finding::Close(Box::new(close)));
    }
    let options = JsonOptions {
        sampling: Sampling::new(0.01, PairKey::default()),
        ..JsonOptions::default()
    };
    let mut lines = Vec::new();
    for rollup in rollups.end_interval(Nanos::from_secs(180)) {
        let record = Record::Rollup(Box::new(rollup));
        let clock = samples::clock();
        write_record(&mut lines, &record, &clock, &mut NoCgroups, &options).expect("memory");
    }
    let rollup: serde_json::Value = serde_json::from_slice(&lines).expect("one record");
    assert_eq!(rollup, documented("rollup"));
}

/// Returns the first example of a kind in docs/json.md.
fn documented(kind: &str) -> serde_json::Value {
    let docs = include_str!("../../../../docs/json.md");
    let examples = docs.split("```json\n").skip(1);
    let examples = examples.filter_map(|after| after.split_once("\n```"));
    examples
        .map(|(block, _)| serde_json::from_str(block).expect("an example is JSON"))
        .find(|example: &serde_json::Value| example["kind"] == kind)
        .unwrap_or_else(|| panic!("there is no example of a {kind}"))
}
