//! An agent that samples, and its rollups.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::program::{Agent, records, records_of_kind};
use crate::workload::{Plan, Server};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

const PLAN: Plan = Plan {
    by_client: 200,
    by_server: 100,
    reset: 30,
};

fn sum(records: &[&Value], pointer: &str) -> u64 {
    let numbers = records.iter().map(|record| record.pointer(pointer));
    numbers
        .map(|number| number.and_then(Value::as_u64).expect("a number"))
        .sum()
}

/// Both endpoints of each connection are on this host.
#[test]
fn both_endpoints_of_a_sampled_connection_are_kept_and_rollups_have_all() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let out = scratch.path("out.jsonl");
        let config = format!(
            "interval = \"1s\"\nsample = 0.2\n[prometheus]\nenabled = false\n\
             [trace]\nnetns = \"{netns}\"\n[[output]]\ntype = \"file\"\npath = \"{}\"\n",
            out.display()
        );
        let agent = Agent::start(&scratch, &config)?;
        server.play(PLAN)?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");

        let records = records(&out)?;
        for record in &records {
            assert_eq!(record["sample"]["rate"], 0.2, "{record}");
        }
        let closes = records_of_kind(&records, "close");
        let mut pairs = BTreeMap::new();
        for close in &closes {
            let kept_for = close["sample"]["kept_for"].as_str().ok_or("a word")?;
            let pair = close["conn"]["pair"].as_str();
            match kept_for {
                "pair" => *pairs.entry(pair.ok_or("a pair id")?).or_insert(0) += 1,
                "abnormal" => assert_eq!(close["close"]["abnormal"], true, "{close}"),
                word => assert_eq!((word, pair), ("no_pair", None), "{close}"),
            }
        }
        assert!(pairs.values().all(|ends| *ends == 2), "{pairs:?}");
        // Of 300 orderly ones: 60, give or take.
        assert!((20..=120).contains(&pairs.len()), "{}", pairs.len());
        let is_reset = |close: &&&Value| close["close"]["path"] == "reset";
        assert_eq!(closes.iter().filter(is_reset).count(), 2 * PLAN.reset);

        let (rollups, summaries) = (
            records_of_kind(&records, "rollup"),
            records_of_kind(&records, "summary"),
        );
        let all = 2 * PLAN.total() as u64;
        assert_eq!(sum(&summaries, "/connections/closed"), all);
        assert_eq!(sum(&rollups, "/closed"), all);
        let resets = 2 * PLAN.reset as u64;
        assert_eq!(sum(&rollups, "/abnormal"), resets);
        for path in ["three_way", "four_way", "simultaneous", "reset", "unknown"] {
            let pointer = format!("/closes/path/{path}");
            assert_eq!(sum(&rollups, &pointer), sum(&summaries, &pointer), "{path}");
        }
        let port = server.address()?.port();
        let accepted = rollups.iter().filter(|it| it["listening_port"] == port);
        let accepted: Vec<&Value> = accepted.copied().collect();
        assert_eq!(sum(&accepted, "/closed"), all / 2);
        let asked = rollups.iter().filter(|it| it["peer"]["port"] == port);
        assert_eq!(sum(&asked.copied().collect::<Vec<_>>(), "/closed"), all / 2);
        for record in rollups.iter().chain(&summaries) {
            assert_eq!(record["sample"]["kept_for"], "always");
        }
        Ok(())
    })
}
