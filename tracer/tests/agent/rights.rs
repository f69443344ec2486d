//! The agent with no more than the systemd unit gives it.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};

use crate::program::{Agent, eventually, records, records_of_kind};
use crate::workload::{Plan, Server};
use rustix::process::Signal;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::has_programs;

const UNIT: &str = include_str!("../../../dist/tcpclose-agent.service");

fn values(key: &str) -> Vec<&'static str> {
    let lines = UNIT.lines();
    lines.filter_map(|line| line.strip_prefix(key)).collect()
}

fn config(scratch: &Scratch, netns: &str) -> String {
    let out = scratch.path("out/records.jsonl");
    format!(
        "interval = \"1s\"\nstuck_after = \"1s\"\nrun_directory = \"{}\"\n[trace]\nnetns = \"{netns}\"\n[[output]]\ntype = \
         \"file\"\npath = \"{}\"\n[[output]]\ntype = \"syslog\"\naddress = \"udp://127.0.0.1:5514\"\n",
        scratch.path("run").display(),
        out.display()
    )
}

/// Closes, and a socket that is stuck and then is not; the agent reports all of it.
fn works(scratch: &Scratch, server: &Server, agent: &Agent) -> TestResult {
    let file = scratch.path("out/records.jsonl");
    server.play(Plan {
        by_client: 5,
        by_server: 5,
        reset: 5,
    })?;
    let (client, stuck) = server.connect()?;
    drop(client);
    let leaks = |event: &str| {
        eventually("the stuck socket is reported", || {
            let text = fs::read_to_string(&file)?;
            Ok(text.contains(event).then_some(()))
        })
    };
    leaks("\"event\":\"opened\"")?;
    drop(stuck);
    leaks("\"event\":\"resolved\"")?;
    agent.signal(Signal::HUP)?;
    Ok(())
}

#[test]
fn a_user_with_the_five_capabilities_can_run_it() -> TestResult {
    if !has_programs(&["setpriv"]) {
        return Ok(());
    }
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        for folder in ["out", "run"] {
            fs::create_dir(scratch.path(folder))?;
            std::os::unix::fs::chown(scratch.path(folder), Some(65_534), Some(65_534))?;
        }
        let granted = values("CapabilityBoundingSet=").concat().to_lowercase();
        let set: Vec<String> = granted
            .split(' ')
            .map(|name| format!("+{}", name.trim_start_matches("cap_")))
            .collect();
        let set = format!("-all,{}", set.join(","));
        let file = scratch.write("agent.toml", &config(&scratch, netns))?;
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "--no-new-privs",
            ])
            .args([
                format!("--inh-caps={set}"),
                format!("--ambient-caps={set}"),
                format!("--bounding-set={set}"),
            ])
            .arg(env!("CARGO_BIN_EXE_tcpclose"))
            .args(["agent", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .env_remove("NOTIFY_SOCKET");
        let mut agent = Agent::run(command, &scratch)?;
        works(&scratch, &server, &agent)?;
        agent.until("the configuration was reloaded")?;
        let status = fs::read_to_string(format!("/proc/{}/status", agent.pid()))?;
        assert!(status.contains("Uid:\t65534\t65534"), "{status}");
        let messages = agent.stderr();
        assert!(!messages.contains("could not be attached"), "{messages}");
        // Root trusts it, as the directory of its socket was given to it.
        let leaks = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .args(["leaks", "--netns", netns, "--agent"])
            .arg(scratch.path("run/agent.sock"))
            .output()?;
        assert_eq!(String::from_utf8_lossy(&leaks.stderr), "");
        let doctor = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .args(["doctor", "--agent"])
            .output()?;
        let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
        let left = format!(
            "running agent {} has CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, and can get no more",
            agent.pid()
        );
        assert!(doctor.contains(&left), "{doctor}");
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        let records = records(&scratch.path("out/records.jsonl"))?;
        let leaks = records_of_kind(&records, "stuck");
        // It could look into this process, which is another user's.
        assert_eq!(
            leaks[0]["holders"][0]["pid"],
            std::process::id(),
            "{}",
            leaks[0]
        );
        Ok(())
    })
}

/// The calls of a set of systemd's, sets in it resolved.
fn calls_of(set: &str) -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let listed = Command::new("systemd-analyze")
        .args(["--no-pager", "syscall-filter", set])
        .output()?;
    let mut calls = BTreeSet::new();
    for line in String::from_utf8(listed.stdout)?.lines() {
        match line.trim() {
            "" => {}
            line if line.starts_with('#') => {}
            line if line == set => {}
            line if line.starts_with('@') => calls.extend(calls_of(line)?),
            line => drop(calls.insert(line.to_owned())),
        }
    }
    Ok(calls)
}

/// What the unit's filter lets through, line after line as systemd reads them.
fn allowed() -> Result<BTreeSet<String>, Box<dyn std::error::Error>> {
    let mut allowed = BTreeSet::new();
    for line in values("SystemCallFilter=") {
        let (denies, words) = match line.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, line),
        };
        for word in words.split(' ') {
            let calls = match word.starts_with('@') {
                true => calls_of(word)?,
                false => BTreeSet::from([word.to_owned()]),
            };
            assert!(!calls.is_empty(), "systemd knows no {word}");
            for call in calls {
                match denies {
                    true => drop(allowed.remove(&call)),
                    false => drop(allowed.insert(call)),
                }
            }
        }
    }
    Ok(allowed)
}

#[test]
fn it_makes_no_system_call_that_the_unit_forbids() -> TestResult {
    if !has_programs(&["strace", "systemd-analyze"]) {
        return Ok(());
    }
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        fs::create_dir(scratch.path("out"))?;
        let file = scratch.write("agent.toml", &config(&scratch, netns))?;
        let trace = scratch.path("trace");
        let mut command = Command::new("strace");
        // It ends with the agent, and hands on no signal: the agent has a pid of its own.
        command
            .args(["-f", "-qq", "-D", "-e", "signal=none", "-o"])
            .arg(&trace)
            .arg(env!("CARGO_BIN_EXE_tcpclose"))
            .args(["agent", "--config"])
            .arg(file)
            .stdin(Stdio::null())
            .env_remove("NOTIFY_SOCKET");
        let mut agent = Agent::run(command, &scratch)?;
        works(&scratch, &server, &agent)?;
        agent.until("the configuration was reloaded")?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        let trace = eventually("strace has written all", || {
            let trace = fs::read_to_string(&trace)?;
            Ok(trace.contains("exit_group(").then_some(trace))
        })?;
        let calls = trace.lines().filter_map(|line| {
            let (before, _) = line.split_once('(')?;
            let name = before.split_whitespace().last()?;
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
            (begins && name.bytes().all(is_name)).then(|| name.to_owned())
        });
        let made: BTreeSet<String> = calls.collect();
        assert!(made.contains("bpf") && made.contains("sendto"), "{made:?}");
        let allowed = allowed()?;
        let forbidden: Vec<&String> = made.difference(&allowed).collect();
        assert!(forbidden.is_empty(), "{forbidden:?}");
        Ok(())
    })
}
