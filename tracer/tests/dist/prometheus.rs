//! The alert rules against promtool, and the dashboard's queries too.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::tool::{dist, find, read, run};

const DASHBOARD: &str = "grafana/tcpclose.json";
const METRICS: &str = include_str!("../../../docs/metrics.md");

fn queries(of: &Value, found: &mut Vec<String>) {
    match of {
        Value::Object(fields) => {
            found.extend(
                fields
                    .get("expr")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|value| queries(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

fn dashboard() -> Vec<String> {
    let dashboard = serde_json::from_str(&read(DASHBOARD)).expect("it is JSON");
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() > 20, "a dashboard has queries");
    found
}

/// The metrics' names in a text, without what Prometheus adds to a histogram's.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| {
        let process =
            *word == "process_cpu_seconds_total" || *word == "process_resident_memory_bytes";
        word.starts_with("tcpclose_") || process
    });
    metrics
        .map(|name| name.strip_suffix("_bucket").unwrap_or(name))
        .collect()
}

#[test]
fn promtool_finds_no_fault_in_the_rules() {
    let Some(mut promtool) = find("promtool") else {
        return;
    };
    let rules = dist().join("prometheus/rules.yml");
    let (content, said) = run(
        &mut promtool,
        ["check", "rules", rules.to_str().expect("text")],
    );
    assert!(content && said.contains("11 rules found"), "{said}");
}

#[test]
fn the_rules_fire_when_they_should_and_only_then() {
    let Some(mut promtool) = find("promtool") else {
        return;
    };
    let tests = dist().join("prometheus/rules_test.yml");
    let (content, said) = run(
        &mut promtool,
        ["test", "rules", tests.to_str().expect("text")],
    );
    assert!(content, "{said}");
}

#[test]
fn prometheus_understands_the_dashboards_queries() {
    let Some(mut promtool) = find("promtool") else {
        return;
    };
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, query) in dashboard().iter().enumerate() {
        // Grafana's own words stand for what these do.
        let query = query
            .replace("$__rate_interval", "5m")
            .replace("$__range", "6h");
        let _ = writeln!(
            rules,
            "  - record: query_{number}\n    expr: {}",
            Value::from(query)
        );
    }
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("dashboard.yml");
    fs::write(&path, rules).expect("cargo's own folder is writable");
    let (content, said) = run(
        &mut promtool,
        ["check", "rules", path.to_str().expect("text")],
    );
    assert!(content, "{said}");
}

#[test]
fn rules_and_dashboard_ask_only_for_what_is_exported() {
    let exported = names(METRICS);
    let rules = read("prometheus/rules.yml");
    // Of what operators are told, not of what they may ask.
    let expressions = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    for query in dashboard().iter().map(String::as_str).chain(expressions) {
        let asked = names(query);
        assert!(query.contains("up{") || !asked.is_empty(), "{query}");
        let unknown: Vec<_> = asked.difference(&exported).collect();
        assert!(
            unknown.is_empty(),
            "docs/metrics.md does not have {unknown:?}"
        );
    }
}

#[test]
fn every_panel_is_of_the_chosen_job_and_instance() {
    for query in dashboard() {
        let chosen = "{job=~\"$job\", instance=~\"$instance\"}";
        assert!(query.contains(chosen), "{query}");
    }
}
