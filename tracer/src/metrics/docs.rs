//! Keeps the tables of docs/metrics.md up to date: `TCPCLOSE_TEST_REWRITE=1` rewrites them.

use std::fmt::Write as _;
use std::fs;

use super::*;

const METRICS_DOC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");

fn table(section: &CatalogueSection) -> String {
    let mut table =
        "| Prometheus | OTLP | kind | unit | labels | meaning |\n|---|---|---|---|---|---|\n"
            .to_owned();
    for metric in section.metrics {
        let name = |consumer, name: &str| match metric.is_for(consumer) {
            true => format!("`{name}`"),
            false => "–".to_owned(),
        };
        let prometheus = name(ExportFormat::Prometheus, &metric.prometheus_name());
        let otlp = name(ExportFormat::Otlp, metric.name);
        let kind = match metric.instrument {
            Instrument::Histogram(_) => "histogram",
            _ if metric.is_counter() => "counter",
            _ => "gauge",
        };
        let labels = metric
            .labels
            .iter()
            .map(|label| match HIGH_CARDINALITY.contains(label) {
                true => format!("(`{label}`)"),
                false => format!("`{label}`"),
            });
        let labels = labels.collect::<Vec<_>>().join(", ");
        let Metric { unit, help, .. } = metric;
        writeln!(
            table,
            "| {prometheus} | {otlp} | {kind} | {unit} | {labels} | {help} |"
        )
        .expect("memory takes it");
    }
    table
}

/// Returns the text with each table between its marks.
fn with_tables(mut text: String) -> String {
    for section in CATALOGUE {
        let mark = format!("<!-- metrics: {} -->\n", section.name);
        let (before, rest) = text
            .split_once(&mark)
            .unwrap_or_else(|| panic!("docs/metrics.md has no {mark}"));
        let (_, after) = rest
            .split_once("<!-- end -->\n")
            .expect("the table has an end");
        text = format!("{before}{mark}{}<!-- end -->\n{after}", table(section));
    }
    text
}

#[test]
fn the_tables_in_the_docs_are_those_of_the_catalogue() {
    let docs = fs::read_to_string(METRICS_DOC).expect("docs/metrics.md");
    let expected = with_tables(docs.clone());
    if std::env::var_os("TCPCLOSE_TEST_REWRITE").is_some_and(|value| value == "1") {
        fs::write(METRICS_DOC, &expected).expect("docs/metrics.md");
        return;
    }
    assert!(
        docs == expected,
        "docs/metrics.md is not up to date: run this test with TCPCLOSE_TEST_REWRITE=1"
    );
}
