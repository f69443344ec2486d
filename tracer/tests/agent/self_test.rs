//! `tcpclose agent --self-test`: one stuck socket and one reset, through the agent's own outputs.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

use crate::program::{Agent, agent, eventually, get, records, records_of_kind};
use tcpclose_kit::TestResult;
use tcpclose_kit::command::without_btf;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::skip;

fn file_output(scratch: &Scratch, name: &str) -> String {
    format!(
        "[[output]]\ntype = \"file\"\npath = \"{}\"\n",
        scratch.path(name).display()
    )
}

fn run_directory(scratch: &Scratch) -> String {
    format!("run_directory = \"{}\"\n", scratch.path("run").display())
}

fn self_test(scratch: &Scratch, config: &str) -> std::io::Result<Output> {
    let file = scratch.write("self-test.toml", config)?;
    agent()
        .arg("--self-test")
        .arg("--config")
        .arg(file)
        .output()
}

fn self_test_without_btf(scratch: &Scratch, config: &str) -> std::io::Result<Output> {
    let file = scratch.write("self-test.toml", config)?;
    let mut command = agent();
    command.arg("--self-test").arg("--config").arg(file);
    without_btf(&mut command);
    command.output()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Asserts that these are the reset of both endpoints and the stuck socket, from its start to its
/// end, each marked.
fn assert_are_the_tests_own(records: &[Value]) {
    assert!(
        records.iter().all(|record| record["self_test"] == true),
        "{records:#?}"
    );
    let closes = records_of_kind(records, "close");
    assert_eq!(closes.len(), 4, "{records:#?}");
    assert!(
        closes.iter().all(|close| close["close"]["path"] == "reset"),
        "{closes:#?}"
    );
    let events: Vec<_> = records_of_kind(records, "stuck")
        .iter()
        .map(|leak| leak["event"].clone())
        .collect();
    assert_eq!(events, ["opened", "resolved"]);
}

#[test]
fn every_output_has_the_stuck_socket_and_the_reset() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let config = run_directory(&scratch)
            + &file_output(&scratch, "all.jsonl")
            // It would leave out every loopback connection, and almost every record.
            + "filter = { no_loopback = true }\nrate_limit = { per_second = 1 }\n"
            + &file_output(&scratch, "leaks.jsonl")
            + "kinds = [\"stuck\"]\n"
            + &file_output(&scratch, "summaries.jsonl")
            + "kinds = [\"summary\"]\n[[output]]\ntype = \"stdout\"\n";
        let output = self_test(&scratch, &config)?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("output stdout has taken 6 records"), "{said}");
        assert!(said.contains("leaks.jsonl has taken 2 records"), "{said}");
        let none = "summaries.jsonl can be opened; its kinds are neither close nor stuck";
        assert!(said.contains(none), "{said}");
        assert_are_the_tests_own(&records(&scratch.path("all.jsonl"))?);
        fs::write(scratch.path("stdout"), &output.stdout)?;
        assert_are_the_tests_own(&records(&scratch.path("stdout"))?);
        assert_eq!(records(&scratch.path("leaks.jsonl"))?.len(), 2);
        assert!(records(&scratch.path("summaries.jsonl"))?.is_empty());
        Ok(())
    })
}

/// The classic tracepoint knows no network namespace, nor which socket of sock_diag is which.
#[test]
fn without_btf_the_reset_alone_is_tested() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let config = run_directory(&scratch) + &file_output(&scratch, "all.jsonl");
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
        without_btf(doctor.arg("doctor"));
        if doctor.output()?.status.code() != Some(0) {
            skip("nothing can be traced here without BTF");
            return Ok(());
        }
        let output = self_test_without_btf(&scratch, &config)?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("only the reset is tested"), "{said}");
        assert!(said.contains("all.jsonl has taken 4 records"), "{said}");
        let records = records(&scratch.path("all.jsonl"))?;
        let is_own_close =
            |record: &Value| record["kind"] == "close" && record["self_test"] == true;
        assert!(records.iter().all(is_own_close), "{records:#?}");
        Ok(())
    })
}

#[cfg(feature = "otlp")]
#[test]
fn an_output_that_delivers_nothing_is_named_with_its_reason() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        // Nobody listens there any more.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = run_directory(&scratch)
            + &file_output(&scratch, "all.jsonl")
            + &format!("[[output]]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:{port}\"\n");
        let output = self_test(&scratch, &config)?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let about: Vec<_> = said.lines().filter(|line| line.contains("otlp:")).collect();
        let [sentence] = about.as_slice() else {
            return Err(format!("one sentence, not {said}").into());
        };
        assert!(
            sentence.contains("did not take the records within 10s: ")
                && sentence.contains("Connection refused"),
            "{sentence}"
        );
        assert!(said.contains("all.jsonl has taken 6 records"), "{said}");
        Ok(())
    })
}

#[test]
fn a_running_agent_keeps_its_output_and_counts_nothing_of_the_test() -> TestResult {
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let config = format!(
            "{}stuck_after = \"100ms\"\n[trace]\nnetns = \"{netns}\"\n{}",
            run_directory(&scratch),
            file_output(&scratch, "agent.jsonl"),
        );
        let running = Agent::start(&scratch, &config)?;
        let output = self_test(&scratch, &config)?;
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        let held = "agent.jsonl cannot be used: another program writes to it and holds its lock";
        assert!(said.contains(held), "{said}");
        let who = format!("agent {} runs here", running.pid());
        assert!(said.contains(&who), "{said}");

        let seen = eventually("the agent has seen the test", || {
            let seen = records(&scratch.path("agent.jsonl"))?;
            Ok((records_of_kind(&seen, "close").len() == 4).then_some(seen))
        })?;
        assert_are_the_tests_own(&seen);
        let address = "127.0.0.1:19433".parse()?;
        let (_, metrics) = get(address, "/metrics")?;
        let counted: Vec<_> = metrics
            .lines()
            .filter(|line| line.starts_with("tcpclose_closes_total{") && !line.ends_with(" 0"))
            .collect();
        // The scrape before this one may have closed.
        assert!(counted.is_empty(), "{counted:?}");
        let (status, _) = running.end()?;
        assert!(status.success(), "{status}");
        let all = records(&scratch.path("agent.jsonl"))?;
        let last = all.last().ok_or("a summary")?;
        let resets = &last["closes"]["path"]["reset"];
        assert_eq!((&last["kind"], resets), (&"summary".into(), &0.into()));
        Ok(())
    })
}
