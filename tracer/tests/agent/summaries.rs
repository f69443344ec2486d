//! What comes in is what is reported.

use serde_json::Value;

use crate::program::{Agent, eventually, records, records_of_kind};
use crate::workload::{Plan, Server};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

const PLAN: Plan = Plan {
    by_client: 300,
    by_server: 100,
    reset: 40,
};

fn sum(summaries: &[&Value], pointer: &str) -> u64 {
    let numbers = summaries.iter().map(|summary| summary.pointer(pointer));
    let number = |number: Option<&Value>| number.and_then(Value::as_u64);
    numbers
        .map(|found| number(found).unwrap_or_else(|| panic!("no {pointer}")))
        .sum()
}

/// Only the server's endpoints are traced, so the agent's own connections are not among them.
fn config(scratch: &Scratch, server: &Server, netns: &str) -> String {
    let port = server.address().expect("it listens").port();
    let out = scratch.path("out.jsonl");
    format!(
        "interval = \"1s\"\nstuck_after = \"1s\"\n[trace]\nlocal_ports = [{port}]\nnetns = \"{netns}\"\n\
         [[output]]\ntype = \"file\"\npath = \"{}\"\n",
        out.display()
    )
}

#[test]
fn summaries_add_up_to_the_workload_and_to_the_closes_in_the_file() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let agent = Agent::start(&scratch, &config(&scratch, &server, netns))?;
        server.play(PLAN)?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");

        let records = records(&scratch.path("out.jsonl"))?;
        let (closes, summaries) = (
            records_of_kind(&records, "close"),
            records_of_kind(&records, "summary"),
        );
        assert_eq!(closes.len(), PLAN.total());
        let total = PLAN.total() as u64;
        assert_eq!(sum(&summaries, "/connections/opened"), total);
        assert_eq!(sum(&summaries, "/connections/closed"), total);
        assert_eq!(sum(&summaries, "/closes/path/reset"), PLAN.reset as u64);
        assert_eq!(sum(&summaries, "/resets/by/peer"), PLAN.reset as u64);
        let by_peer = (PLAN.by_client + PLAN.reset) as u64;
        assert_eq!(sum(&summaries, "/closes/initiator/peer"), by_peer);
        assert_eq!(
            sum(&summaries, "/closes/initiator/local"),
            PLAN.by_server as u64
        );
        // Who closed second was in CLOSE_WAIT and LAST_ACK.
        assert_eq!(
            sum(&summaries, "/states/LAST_ACK/count"),
            PLAN.by_client as u64
        );
        assert_eq!(sum(&summaries, "/processes/closes/other"), 0);
        assert_eq!(sum(&summaries, "/peers/closes/most/0/count"), total);
        // Runs that the kernel skipped (`program`) are counted for the whole host, where other
        // tests run.
        for place in ["ring", "table", "decode"] {
            assert_eq!(sum(&summaries, &format!("/lost/{place}")), 0, "{place}");
        }
        let last = summaries.last().expect("there is one at least");
        assert_eq!(last["connections"]["live"], 0);
        assert_eq!(last["time_wait"]["now"], server.in_time_wait());
        assert_eq!(
            records.last(),
            Some(*last),
            "the summary is the last record"
        );
        // The intervals join.
        for pair in summaries.windows(2) {
            assert_eq!(pair[0]["to"], pair[1]["from"]);
        }
        Ok(())
    })
}

#[test]
fn records_match_the_schema() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let agent = Agent::start(&scratch, &config(&scratch, &server, netns))?;
        server.play(Plan {
            by_client: 3,
            by_server: 3,
            reset: 3,
        })?;
        let (_status, _) = agent.end()?;
        let schema = serde_json::from_str(include_str!("../../../docs/tcpclose.schema.json"))?;
        let schema = jsonschema::validator_for(&schema)?;
        let records = records(&scratch.path("out.jsonl"))?;
        for record in &records {
            if let Err(error) = schema.validate(record) {
                panic!("{error} at {} in {record}", error.instance_path());
            }
        }
        assert!(!records_of_kind(&records, "summary").is_empty());
        Ok(())
    })
}

#[test]
fn stuck_sockets_are_reported_with_their_owner_and_growth() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let agent = Agent::start(&scratch, &config(&scratch, &server, netns))?;
        let mut stuck = Vec::new();
        let found = eventually("a forecast", || {
            let (client, server) = server.connect()?;
            drop(client);
            stuck.push(server);
            let records = records(&scratch.path("out.jsonl"));
            // The last line may be half there.
            let Ok(records) = records else {
                return Ok(None);
            };
            let last = records_of_kind(&records, "summary")
                .last()
                .map(|last| (*last).clone());
            let growing = |last: &Value| {
                last.pointer("/stuck/owners/0/growth/per_second")
                    .and_then(Value::as_f64)
                    .is_some_and(|rate| rate > 0.0)
            };
            Ok(last.filter(growing))
        })?;
        let owner = &found["stuck"]["owners"][0];
        assert_eq!(owner["pid"], std::process::id());
        assert_eq!(owner["stuck"], found["stuck"]["sockets"]);
        assert!(
            found["stuck"]["verdicts"]["eof_unread"].as_u64() > Some(0),
            "{found}"
        );
        let (_status, _) = agent.end()?;
        Ok(())
    })
}

/// More than the default output lets through at once.
const STUCK_BEFORE: u64 = 1_500;

#[test]
fn sockets_stuck_before_the_start_are_all_counted_and_do_not_flood_the_journal() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let mut stuck = Vec::new();
        for _ in 0..STUCK_BEFORE {
            let (client, server) = server.connect()?;
            drop(client);
            stuck.push(server);
        }
        // As the default output, which is journald's.
        let config = format!(
            "interval = \"1s\"\nstuck_after = \"1s\"\n[trace]\nnetns = \"{netns}\"\n[[output]]\ntype = \"stdout\"\n\
             kinds = [\"stuck\", \"summary\", \"loss\"]\nrate_limit = {{ per_second = 100, burst = 1000 }}\n"
        );
        let agent = Agent::start(&scratch, &config)?;
        let out = scratch.path("stdout");
        let summary = eventually("all are stuck", || {
            // The last line may be half there.
            let Ok(records) = records(&out) else {
                return Ok(None);
            };
            let all = |summary: &&&Value| summary["stuck"]["sockets"] == STUCK_BEFORE;
            let summaries = records_of_kind(&records, "summary");
            Ok(summaries.iter().find(all).map(|summary| (*summary).clone()))
        })?;
        let owner = &summary["stuck"]["owners"][0];
        assert_eq!(owner["stuck"], STUCK_BEFORE, "{owner}");
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        let records = records(&out)?;
        let leaks = records_of_kind(&records, "stuck");
        let cut = sum(&records_of_kind(&records, "summary"), "/outputs/0/cut");
        assert!(cut > 0);
        assert_eq!(leaks.len() as u64 + cut, STUCK_BEFORE);
        Ok(())
    })
}
