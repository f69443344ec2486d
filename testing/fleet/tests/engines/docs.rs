//! The queries of `docs/fleet.md` on DuckDB, over the files that agents wrote.

use crate::engine::Engine;
use crate::found::count;
use crate::{Written, file, show};

/// The fenced blocks of SQL in a document, each under the heading before it.
fn queries(document: &str) -> Vec<(String, String)> {
    let mut heading = String::new();
    let mut queries = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        if let Some(text) = line.strip_prefix("### ") {
            heading = text.to_owned();
        }
        if line == "```sql" {
            let query: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            queries.push((heading.clone(), query.join("\n")));
        }
    }
    queries
}

#[test]
fn the_queries_of_the_documentation_answer_over_files() {
    let fleet = Written::new(3);
    let Some(mut duckdb) = Engine::duckdb(&fleet.scratch.path("fleet")) else {
        return;
    };
    let queries = queries(&file("docs/fleet.md"));
    assert_eq!(queries.len(), 6, "a view, and five queries");
    let mut answers = queries.iter().map(|(heading, query)| {
        let rows = duckdb.query(query.trim_end_matches(';'));
        show(format_args!("{heading}: {} rows", rows.len()));
        rows
    });
    let truth = &fleet.truth;
    let counts = &truth["counts"];
    let mut next = || answers.next().unwrap();
    let _ = next();
    let causes = next();
    let sum = |rows: &[crate::engine::Row], column: &str| {
        rows.iter().map(|row| count(&row[column])).sum::<u64>()
    };
    let resets = causes.iter().filter(|row| !row["reset_by"].is_null());
    let resets: Vec<_> = resets.cloned().collect();
    assert_eq!(sum(&resets, "closes"), count(&counts["resets"]));
    let leaks = next();
    let leaking = truth["leaks"].as_object().unwrap().keys().next().unwrap();
    let (service, version) = leaking.split_once(' ').unwrap();
    let path = format!("/opt/{service}/{version}/bin/{service}");
    assert_eq!(leaks[0]["exe"], *path, "{leaks:?}");
    let idle = next();
    let planted = truth["idle_timeouts"]
        .as_object()
        .unwrap()
        .keys()
        .next()
        .unwrap();
    let client = planted.split_once(' ').unwrap().0;
    assert!(
        idle.iter().all(|row| row["client"] == client) && !idle.is_empty(),
        "{idle:?}"
    );
    let fins = next();
    let lost: u64 = truth["lost_fins"]
        .as_object()
        .unwrap()
        .values()
        .map(count)
        .sum();
    assert_eq!(sum(&fins, "connections"), lost);
    let lossy = next();
    let planted = truth["losses"].as_object().unwrap().keys().next().unwrap();
    assert_eq!(lossy[0]["host"], **planted);
    assert_eq!(lossy.len(), 1);
}
