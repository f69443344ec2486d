//! The alert rules against promtool, and the dashboard's queries too.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use tcpclose::metrics::{CATALOGUE, ExportFormat, Instrument, Metric, PLACE_LABELS};

use crate::tool::{dist, find, read, run};

const DASHBOARD: &str = "grafana/tcpclose.json";

/// What Prometheus itself gives series: those of scrapes, of histograms and of alerts.
const LABELS_OF_PROMETHEUS: [&str; 5] = ["job", "instance", "le", "alertname", "alertstate"];

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

/// The words in a text that may be names of metrics.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let process = |word: &str| word.starts_with("process_");
    words.filter(move |word| word.starts_with("tcpclose_") || process(word))
}

/// The metric of a name, which may be one of a histogram's three.
fn metric(name: &str) -> Option<&'static Metric> {
    let parts = ["_bucket", "_count", "_sum"];
    let mut all = CATALOGUE.iter().flat_map(|section| section.metrics);
    all.find(|metric| {
        let known = metric.prometheus_name();
        let is_histogram = matches!(metric.instrument, Instrument::Histogram(_));
        match name.strip_prefix(&*known) {
            Some(rest) => {
                rest.is_empty() != is_histogram && (rest.is_empty() || parts.contains(&rest))
            }
            None => false,
        }
    })
}

/// The labels that a query selects or groups by.
fn labels(query: &str) -> BTreeSet<&str> {
    let enclosed = |open: &'static str, close: char| {
        let after = query.split(open).skip(1);
        after.filter_map(move |rest| rest.split_once(close).map(|(inside, _)| inside))
    };
    let selected = enclosed("{", '}').flat_map(|inside| inside.split(", "));
    let selected = selected.filter_map(|one| one.split(['=', '!']).next());
    let grouped = enclosed("by (", ')').flat_map(|inside| inside.split(", "));
    selected
        .chain(grouped)
        .filter(|label| !label.is_empty())
        .collect()
}

#[test]
fn promtool_finds_no_fault_in_the_rules() {
    let Some(mut promtool) = find("promtool") else {
        return;
    };
    let rules = dist().join("prometheus/rules.yml");
    let (is_good, output) = run(
        &mut promtool,
        ["check", "rules", rules.to_str().expect("text")],
    );
    assert!(is_good && output.contains("12 rules found"), "{output}");
}

#[test]
fn the_rules_fire_when_they_should_and_only_then() {
    let Some(mut promtool) = find("promtool") else {
        return;
    };
    let tests = dist().join("prometheus/rules_test.yml");
    let (is_good, output) = run(
        &mut promtool,
        ["test", "rules", tests.to_str().expect("text")],
    );
    assert!(is_good, "{output}");
}

#[test]
fn prometheus_accepts_the_dashboards_queries() {
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
    let (is_good, output) = run(
        &mut promtool,
        ["check", "rules", path.to_str().expect("text")],
    );
    assert!(is_good, "{output}");
}

#[test]
fn rules_their_tests_and_the_dashboard_query_only_exported_metrics() {
    let (rules, tests) = (
        read("prometheus/rules.yml"),
        read("prometheus/rules_test.yml"),
    );
    // What is asked, and not what operators are reported.
    let lines = rules.lines().chain(tests.lines()).map(str::trim);
    let lines = lines.filter_map(|line| {
        let expression = line
            .strip_prefix("expr: ")
            .or(line.strip_prefix("- expr: "));
        expression.or(line.strip_prefix("- series: "))
    });
    for query in dashboard().iter().map(String::as_str).chain(lines) {
        let asked: Vec<&str> = names(query).collect();
        let is_of_prometheus = query.starts_with("up{") || query.contains("ALERTS{");
        assert!(is_of_prometheus || !asked.is_empty(), "{query}");
        let mut known = BTreeSet::from(LABELS_OF_PROMETHEUS);
        let mut exported = Vec::new();
        for name in asked {
            let metric = metric(name).unwrap_or_else(|| panic!("nothing exports {name}: {query}"));
            assert!(metric.is_for(ExportFormat::Prometheus), "{name}: {query}");
            exported.extend(metric.labels.iter().map(|label| label.replace('.', "_")));
            if metric.names_processes() {
                exported.extend(PLACE_LABELS.map(|label| label.replace('.', "_")));
            }
        }
        if is_of_prometheus {
            let all = CATALOGUE.iter().flat_map(|section| section.metrics);
            let all = all.flat_map(|metric| metric.labels);
            exported.extend(all.map(|label| label.replace('.', "_")));
        }
        known.extend(exported.iter().map(String::as_str));
        let asked = labels(query);
        let unknown: Vec<_> = asked.difference(&known).collect();
        assert!(unknown.is_empty(), "no such labels as {unknown:?}: {query}");
    }
}

#[test]
fn every_panel_is_of_the_chosen_job_and_instance() {
    for query in dashboard() {
        let chosen = "{job=~\"$job\", instance=~\"$instance\"";
        let selectors: Vec<&str> = query.split(chosen).skip(1).collect();
        assert!(!selectors.is_empty(), "{query}");
        assert!(
            selectors.iter().all(|rest| rest.starts_with(['}', ','])),
            "{query}"
        );
    }
}
