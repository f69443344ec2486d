//! `tcpclose triage`, with one program for each thing that can be wrong.

use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program;
use crate::stuck::Pair;
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;

const SCHEMA: &str = include_str!("../../../docs/tcpclose.schema.json");

fn triage(netns: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program::path());
    command
        .args(["triage", "--for", "1s", "--min-age", "0s", "--netns", netns])
        .args(args)
        .stdin(Stdio::null());
    command
}

fn screen(netns: &str) -> io::Result<CommandOutput> {
    triage(netns, &[]).output().map(CommandOutput::from)
}

fn record(netns: &str) -> io::Result<(Option<i32>, Value)> {
    let ended = CommandOutput::from(triage(netns, &["--json"]).output()?);
    let record = ended.record();
    let schema: Value = serde_json::from_str(SCHEMA)?;
    let schema = jsonschema::validator_for(&schema).map_err(io::Error::other)?;
    let errors: Vec<String> = schema
        .iter_errors(&record)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {record}");
    Ok((ended.code, record))
}

/// What the verdicts are about.
fn about(record: &Value) -> Vec<&str> {
    let verdicts = record["verdicts"].as_array().into_iter().flatten();
    verdicts.filter_map(|it| it["about"].as_str()).collect()
}

/// Whether nothing can be traced here, and the record says so.
fn is_untraced(record: &Value) -> bool {
    record["watched_ms"].is_null()
}

#[test]
fn where_nothing_is_wrong_that_is_reported() -> TestResult {
    in_own_network(|netns| {
        let (code, record) = record(netns)?;
        if is_untraced(&record) {
            assert_eq!(code, Some(2), "{record}");
            return Ok(());
        }
        assert_eq!((code, about(&record)), (Some(0), Vec::new()), "{record}");
        assert_eq!(record["unseen"], Value::Array(Vec::new()));
        let shown = screen(netns)?;
        assert_eq!(shown.code, Some(0));
        assert!(
            shown.stdout.starts_with("Nothing is wrong with "),
            "{}",
            shown.stdout
        );
        Ok(())
    })
}

#[test]
fn stuck_sockets_full_routes_and_failed_connects_are_each_a_verdict() -> TestResult {
    in_own_network(|netns| {
        let _stuck = Pair::forgotten()?;
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "20000 20001")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 8080))?;
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, 8080));
        let _live = [connect()?, connect()?];
        let over = AtomicBool::new(false);
        let (record, shown) = thread::scope(|scope| {
            let refused = || {
                while !over.load(Ordering::Relaxed) {
                    let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, 1));
                    thread::sleep(Duration::from_millis(5));
                }
            };
            // A thread lives where the one does that starts it.
            scope.spawn(refused);
            let seen = record(netns).and_then(|record| Ok((record, screen(netns)?)));
            over.store(true, Ordering::Relaxed);
            seen
        })?;
        drop(listener);
        let (code, record) = record;
        assert_eq!((code, shown.code), (Some(1), Some(1)), "{record}");
        let about = about(&record);
        let mut expected = vec!["stuck", "route"];
        if !is_untraced(&record) {
            expected.push("abnormal");
        }
        assert_eq!(about[..expected.len()], expected, "{record}");
        let pid = std::process::id();
        let commands = record["verdicts"].as_array().into_iter().flatten();
        let commands: Vec<&str> = commands.filter_map(|it| it["command"].as_str()).collect();
        assert_eq!(commands[0], format!("tcpclose leaks --all -p {pid}"));
        assert_eq!(commands[1], "tcpclose ports --port 8080");
        if !is_untraced(&record) {
            assert_eq!(commands[2], "tcpclose resets --cause refused");
        }
        let lines = shown.stdout.lines();
        let widest = lines.map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{}", shown.stdout);
        for words in [
            " 1. 1 socket is stuck",
            "no local port is left from 127.0.0.1",
            "WHY",
            "DO",
        ] {
            assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
        }
        Ok(())
    })
}

#[test]
fn without_rights_it_scans_and_reports_what_was_not_seen() -> TestResult {
    in_own_network(|_| {
        let mut command = Command::new(program::path());
        command.args(["triage", "--json"]).stdin(Stdio::null());
        tcpclose_kit::command::as_unprivileged_user(&mut command);
        let ended = match command.output() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                tcpclose_kit::skip::skip("others may not run this program");
                return Ok(());
            }
            ended => CommandOutput::from(ended?),
        };
        let record = ended.record();
        assert!(is_untraced(&record), "{record}");
        let unseen = record["unseen"].to_string();
        assert!(unseen.contains("connections that are reset"), "{unseen}");
        assert!(matches!(ended.code, Some(1 | 2)), "{record}");
        Ok(())
    })
}
