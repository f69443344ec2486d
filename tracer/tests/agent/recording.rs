//! What an agent has recorded is reported again as it was.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};

use serde_json::Value;

use crate::program::{Agent, agent, eventually, records, records_of_kind};
use crate::workload::{Plan, Server};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

const PLAN: Plan = Plan {
    by_client: 20,
    by_server: 20,
    reset: 10,
};

#[test]
fn a_replay_reports_byte_for_byte_what_the_agent_reported() -> TestResult {
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        let (out, file) = (scratch.path("out.jsonl"), scratch.path("agent.rec"));
        let config = format!(
            "interval = \"1s\"\nstuck_after = \"1s\"\n[trace]\nnetns = \"{netns}\"\n\
             [prometheus]\nenabled = false\n[[output]]\ntype = \"file\"\npath = \"{}\"\n",
            out.display()
        );
        let mut command = agent();
        let config = scratch.write("agent.toml", &config)?;
        command
            .arg("--config")
            .arg(&config)
            .arg("--record")
            .arg(&file);
        let running = Agent::run(command, &scratch)?;

        server.play(PLAN)?;
        let mut stuck = Vec::new();
        let reported = eventually("a summary with growth and ephemeral ports", || {
            let (client, server) = server.connect()?;
            drop(client);
            stuck.push(server);
            // The last line may be half there.
            let text = fs::read_to_string(&out)?;
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines = whole.lines().map(serde_json::from_str::<Value>);
            let lines: Vec<Value> = lines.collect::<Result<_, _>>().map_err(io::Error::from)?;
            let reported = |summary: &&Value| {
                let growth = summary.pointer("/stuck/owners/0/growth/per_second");
                let ports = summary.pointer("/time_wait/pressure/0/used");
                growth.is_some_and(Value::is_number) && ports.is_some_and(Value::is_number)
            };
            Ok(records_of_kind(&lines, "summary")
                .into_iter()
                .find(reported)
                .cloned())
        })?;
        drop(stuck);
        server.play(PLAN)?;
        let (status, _) = running.end()?;
        assert!(status.success(), "{status}");
        let live = fs::read_to_string(&out)?;
        assert!(records_of_kind(&records(&out)?, "summary").len() >= 3);
        assert!(reported["tracer"]["cpu_ms"].is_number(), "{reported}");

        // Another interval and no rights to trace: the recording has its own.
        let mut command = agent();
        command.arg("--replay").arg(&file);
        let replayed = command.output()?;
        assert!(replayed.status.success(), "{replayed:?}");
        let replayed = String::from_utf8_lossy(&replayed.stdout).into_owned();
        for (replayed, live) in replayed.lines().zip(live.lines()) {
            assert_eq!(replayed, live);
        }
        assert!(replayed == live);
        Ok(())
    })
}

/// Another agent has the port: the recording of yesterday is still there.
#[test]
fn a_start_that_fails_leaves_an_older_recording_as_it_is() -> TestResult {
    in_own_network(|_| {
        let scratch = Scratch::new();
        let file = scratch.write("older.rec", "what somebody has recorded")?;
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let config = format!(
            "[prometheus]\nlisten = \"{}\"\n[[output]]\ntype = \"stdout\"\n",
            taken.local_addr()?
        );
        let mut command = agent();
        command
            .arg("--config")
            .arg(scratch.write("agent.toml", &config)?)
            .arg("--record")
            .arg(&file);
        let ended = command.output()?;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(said.contains("cannot listen on"), "{said}");
        assert_eq!(ended.status.code(), Some(2), "{said}");
        assert_eq!(fs::read_to_string(&file)?, "what somebody has recorded");
        Ok(())
    })
}
