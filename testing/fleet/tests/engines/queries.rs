//! The query pack on ClickHouse.

use std::collections::BTreeSet;

use crate::engine::{Engine, Row};
use crate::found::{Found, count};
use crate::{Written, file, show};

/// A fleet in ClickHouse.
struct Loaded {
    clickhouse: Engine,
    fleet: Written,
}

impl Loaded {
    #[track_caller]
    fn new(seed: u64) -> Option<Self> {
        let fleet = Written::new(seed);
        let mut clickhouse = Engine::clickhouse(&fleet.scratch.path("database"))?;
        for sql in ["tables", "views"] {
            clickhouse.run(&file(&format!("dist/clickhouse/{sql}.sql")));
        }
        for (name, value) in [
            (
                "files",
                &*fleet.path("records/*/*.jsonl").display().to_string(),
            ),
            ("from", &fleet.from),
            ("to", &fleet.to),
            ("day", &fleet.last_day),
        ] {
            clickhouse.query(&format!("SET param_{name} = '{value}'"));
        }
        clickhouse.run(&file("dist/clickhouse/load.sql"));
        for table in ["hosts", "deploys"] {
            let path = fleet.path(&format!("{table}.jsonl"));
            clickhouse.query(&format!(
                "INSERT INTO tcpclose.{table} SELECT * FROM file('{}', JSONEachRow) \
                 SETTINGS use_structure_from_insertion_table_in_table_functions = 1",
                path.display()
            ));
        }
        Some(Self { clickhouse, fleet })
    }

    #[track_caller]
    fn ask(&mut self, query: &str) -> Vec<Row> {
        self.clickhouse
            .query(&file(&format!("dist/clickhouse/queries/{query}.sql")))
    }

    #[track_caller]
    fn number(&mut self, expression: &str) -> u64 {
        let rows = self
            .clickhouse
            .query(&format!("SELECT {expression} AS number"));
        count(&rows[0]["number"])
    }

    #[track_caller]
    fn finds(&mut self, query: &str, truth: &str, key: &[&str], number: &str) -> Found {
        let rows = self.ask(query);
        let found = Found::new(query, &self.fleet.truth[truth], &rows, key, number);
        show(format_args!("seed {}: {found}", self.fleet.truth["seed"]));
        found
    }
}

#[track_caller]
fn every_query_finds_what_was_planted(seed: u64) {
    let Some(mut fleet) = Loaded::new(seed) else {
        return;
    };
    every_record_is_in_its_table(&mut fleet);
    // Connections of which both agents saw all: exactly as many as there were.
    for (query, truth, key) in [
        (
            "resets_from_path",
            "resets_from_path",
            ["client_rack", "server_rack"],
        ),
        ("lost_fins", "lost_fins", ["from_rack", "to_rack"]),
    ] {
        let found = fleet.finds(query, truth, &key, "connections");
        assert!(found.is_exact(), "{found}");
    }
    let no_ports = fleet.finds("ports", "no_ports", &["host"], "failed_connects");
    assert!(no_ports.is_exact(), "{no_ports}");
    for (query, truth, key, number) in [
        ("leaks", "leaks", &["service", "version"][..], "sockets"),
        (
            "idle_timeouts",
            "idle_timeouts",
            &["client", "server"],
            "missed",
        ),
        ("changes", "changes", &["service", "what"], "now"),
    ] {
        let found = fleet.finds(query, truth, key, number);
        let (precision, recall) = (found.precision(), found.recall());
        assert!(precision >= 1.0 && recall >= 1.0, "{found}");
    }
    blind_spots_are_found(&mut fleet);
    totals_are_exact(&mut fleet);
}

#[test]
fn every_query_finds_what_was_planted_in_a_fleet() {
    every_query_finds_what_was_planted(1);
}

#[test]
fn every_query_finds_what_was_planted_in_another_fleet() {
    every_query_finds_what_was_planted(20_26);
}

fn every_record_is_in_its_table(fleet: &mut Loaded) {
    let counts = fleet.fleet.truth["counts"].clone();
    for (expression, truth) in [
        ("(SELECT count() FROM tcpclose.closes)", "closes"),
        ("(SELECT sum(closes) FROM tcpclose.closes_hourly)", "closes"),
        (
            "(SELECT sum(count) FROM tcpclose.time_waits_hourly)",
            "time_waits",
        ),
        (
            "(SELECT sum(seconds) FROM tcpclose.time_waits_hourly)",
            "time_wait_seconds",
        ),
        ("(SELECT sum(lost) FROM tcpclose.losses)", "lost"),
    ] {
        assert_eq!(
            fleet.number(expression),
            count(&counts[truth]),
            "{expression}"
        );
    }
    let of_hosts = "(SELECT uniqExact(host) FROM tcpclose.closes)";
    assert_eq!(fleet.number(of_hosts), count(&fleet.fleet.truth["hosts"]));
}

/// What was lost and what was not watched, of the hosts to which that happened and of no others.
fn blind_spots_are_found(fleet: &mut Loaded) {
    let rows = fleet.ask("blind_spots");
    let lossy: Vec<_> = rows
        .iter()
        .filter(|row| count(&row["lost_records"]) > 0)
        .cloned()
        .collect();
    let silent = rows
        .iter()
        .filter(|row| row["unwatched_hours"].as_f64() > Some(0.0));
    let silent: Vec<_> = silent.cloned().collect();
    let truth = &fleet.fleet.truth;
    for found in [
        Found::new(
            "losses",
            &truth["losses"],
            &lossy,
            &["host"],
            "lost_records",
        ),
        Found::new(
            "silent hosts",
            &truth["silent"],
            &silent,
            &["host"],
            "unwatched_hours",
        ),
    ] {
        show(format_args!("seed {}: {found}", truth["seed"]));
        assert!(found.precision() >= 1.0 && found.recall() >= 1.0, "{found}");
    }
    assert_eq!(rows.len(), lossy.len() + silent.len());
}

/// The queries that rank count everything once.
fn totals_are_exact(fleet: &mut Loaded) {
    let counts = fleet.fleet.truth["counts"].clone();
    let sum = |rows: &[Row], column: &str| rows.iter().map(|row| count(&row[column])).sum::<u64>();
    let resets = fleet.ask("resets");
    assert_eq!(sum(&resets, "resets"), count(&counts["resets"]));
    let words: BTreeSet<_> = resets.iter().map(|row| row["what"].to_string()).collect();
    assert!(words.contains("\"unread_data\""), "{words:?}");
    let time_waits = fleet.ask("time_wait");
    // Those that were over when the last day was.
    assert_eq!(sum(&time_waits, "time_waits"), count(&counts["time_waits"]));
}

/// What posts records names the host in each of them, or it stays empty.
#[test]
fn a_record_may_name_its_host() {
    let scratch = tcpclose_kit::scratch::Scratch::new();
    let Some(mut clickhouse) = Engine::clickhouse(&scratch.path("database")) else {
        return;
    };
    for sql in ["tables", "views", "tables", "views"] {
        clickhouse.run(&file(&format!("dist/clickhouse/{sql}.sql")));
    }
    let record = |host: &str| {
        format!(
            r#"{{{host}"v":1,"kind":"loss","ts":"{}","lost":7,"where":"ring","repaired":true,"duration_ms":null}}"#,
            jiff::Timestamp::now()
        )
    };
    clickhouse.query(&format!(
        "INSERT INTO tcpclose.incoming SETTINGS input_format_skip_unknown_fields = 1 \
         FORMAT JSONEachRow {}\n{}",
        record(r#""host":"web-17","#),
        record("")
    ));
    let rows = clickhouse.query("SELECT host, lost FROM tcpclose.losses ORDER BY host");
    let hosts: Vec<_> = rows
        .iter()
        .map(|row| row["host"].as_str().unwrap())
        .collect();
    assert_eq!(hosts, ["", "web-17"]);
}
