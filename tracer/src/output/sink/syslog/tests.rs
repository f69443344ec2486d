//! Messages against the RFC's grammar; tests/sinks/ has real receivers.

use super::*;
use crate::cgroup_names::NoCgroups;
use crate::output::samples;
use crate::output::sink::{SinkConfig, Target};
use crate::output::summary_samples;
use smallvec::smallvec;
use tcpclose_core::finding::Close;
use tcpclose_core::finding::Finding;

fn message(settings: &str, record: Record) -> String {
    let config: SinkConfig =
        toml::from_str(&format!("type = 'syslog'\n{settings}")).expect("right");
    let Target::Syslog(config) = config.target else {
        panic!("syslog")
    };
    let mut context = RenderContext {
        clock: samples::clock(),
        cgroups: Box::new(NoCgroups),
        lock: None,
        json: Default::default(),
    };
    let log_record = LogRecord::new(&record, &mut context);
    String::from_utf8(SyslogFormatter::new(&config).format(&log_record)).expect("UTF-8")
}

fn close(close: Close) -> Record {
    Finding::Close(Box::new(close)).into()
}

/// Header, structured data and message of a whole message.
fn parts(message: &str) -> (&str, &str, &str) {
    let start = message.find(" [").expect("structured data");
    let mut escaped = false;
    let end = message[start..].find(|character| {
        let ends = character == ']' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    });
    let end = start + end.expect("its end");
    (
        &message[..start],
        &message[start + 1..=end],
        &message[end + 2..],
    )
}

#[test]
fn a_message_has_all_parts() {
    let message = message("", close(samples::three_way()));
    let (header, data, text) = parts(&message);
    let fields: Vec<&str> = header.split(' ').collect();
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let pid = std::process::id().to_string();
    assert_eq!(
        fields,
        [
            "<30>1",
            "2026-01-31T12:00:00.008500Z",
            host.trim(),
            "tcpclose",
            &pid,
            "close"
        ]
    );
    assert!(data.starts_with("[tcpclose@32473 "), "{data}");
    assert!(
        data.contains(r#" conn.local.addr="127.0.0.1" conn.local.port="48350" "#),
        "{data}"
    );
    assert!(data.contains(r#" kind="close" "#), "{data}");
    assert!(
        text.starts_with("mariadb[28089] 127.0.0.1:48350 > "),
        "{text}"
    );
}

#[test]
fn settings_of_the_operator_are_used() {
    let message = message(
        "facility = 'local3'\nsd_id = 'closes@9'",
        close(samples::three_way()),
    );
    assert!(message.starts_with("<158>1 "), "{message}");
    assert!(message.contains("[closes@9 "), "{message}");
}

#[test]
fn no_name_breaks_the_structure() {
    let mut hostile = samples::three_way();
    hostile.owner = samples::owner(1, b"\"] evil=\"\\");
    let message = message("", close(hostile));
    let (_, data, text) = parts(&message);
    // The backslash is doubled as in all tables, and each of the two once more by the RFC.
    assert!(data.contains(r#"owner.comm="\"\] evil=\"\\\\" "#), "{data}");
    assert!(text.starts_with(r#""] evil="\\[1] 127.0.0.1"#), "{text}");
}

#[test]
fn the_name_of_each_field_is_one_that_the_rfc_allows() {
    let records = [
        close(samples::three_way()),
        close(samples::half_closed()),
        close(samples::reset()),
        Finding::Stuck(Box::new(samples::stuck())).into(),
        Record::Summary(Box::new(summary_samples::summary())),
    ];
    for record in records {
        let mut context = RenderContext::default();
        let log_record = LogRecord::new(&record, &mut context);
        let paths = log_record.fields.iter().map(|(path, _)| path);
        let mut names: Vec<&str> = paths.map(|path| message::param_name(path)).collect();
        for name in &names {
            assert!(name.len() <= 32, "{name} has {} characters", name.len());
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_graphic() && !b"=]\"".contains(&byte))
            );
        }
        assert!(names.contains(&"kind"));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), log_record.fields.len());
    }
}

#[test]
fn a_message_that_is_too_long_omits_its_longest_fields() {
    let mut long = samples::three_way();
    long.steps = smallvec![long.steps[0]; 200];
    let whole = message("max_size = 65507", close(long.clone()));
    assert!(whole.len() > 10_000 && whole.contains("close.steps="));
    let cut = message("", close(long.clone()));
    let (_, data, text) = parts(&cut);
    assert!(
        data.starts_with(r#"[tcpclose@32473 omitted="1" "#),
        "{data}"
    );
    assert!(
        !cut.contains("close.steps=") && cut.contains("states="),
        "{cut}"
    );
    assert!(text.ends_with("174 bytes received"), "{text}");
    let tiny = message("max_size = 480", close(long));
    assert!(tiny.len() <= 480, "{tiny}");
    let (_, data, text) = parts(&tiny);
    assert!(
        data.contains("omitted=") && text.ends_with("174 bytes received"),
        "{tiny}"
    );
}

#[test]
fn a_message_that_is_not_ascii_is_marked_as_utf_8() {
    let mut foreign = samples::three_way();
    foreign.owner = samples::owner(1, "数据".as_bytes());
    let message = message("", close(foreign));
    assert!(message.contains(" \u{feff}数据[1] "), "{message}");
}
