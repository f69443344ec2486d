//! Stuck sockets in `tcpclose watch`: reported when they become stuck and when they are resolved.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program;
use crate::stuck::{Pair, Sleeper, not_accepted};
use crate::watch::{Fallible, Watch};
use rustix::thread::CapabilitySet;
use tcpclose_kit::TestResult;
use tcpclose_kit::command::{with_only_capabilities, with_tracefs};
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::skip::skip;
use tcpclose_kit::sockets::reset_on_close;

/// Returns whether anything can be traced here. Skips the test where nothing can.
pub fn can_trace() -> Fallible<bool> {
    let doctor = Command::new(program::path()).arg("doctor").output()?;
    let can = doctor.status.success();
    if !can {
        skip("needs the eBPF programs and root");
    }
    Ok(can)
}

/// Starts `tcpclose watch` in a namespace, and waits until it watches.
fn watch(netns: &str, args: &[&str]) -> Fallible<Watch> {
    watch_everywhere(&[&["--netns", netns], args].concat())
}

fn watch_everywhere(args: &[&str]) -> Fallible<Watch> {
    Watch::attached(&mut watch_command(args))
}

fn watch_command(args: &[&str]) -> Command {
    let mut command = Command::new(program::path());
    command
        .args(["watch", "--stuck-after", "300ms"])
        .args(args)
        .stdin(Stdio::null());
    command
}

pub fn watch_as_json(netns: &str, args: &[&str]) -> Fallible<Watch> {
    watch(netns, &[&["--format", "json"], args].concat())
}

/// The next `stuck` record.
pub fn leak(watch: &mut Watch) -> Fallible<Value> {
    watch.record(r#""kind":"stuck""#)
}

pub fn in_traced_network(test: impl FnOnce(&str) -> TestResult + Send) -> TestResult {
    if !can_trace()? {
        return Ok(());
    }
    in_own_network(test)
}

fn age(record: &Value) -> Fallible<f64> {
    Ok(record["stuck"]["age_ms"].as_f64().ok_or("no age")?)
}

#[test]
fn it_is_reported_with_its_exact_age_and_that_it_was_closed() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let server = Pair::forgotten()?;
        let opened = leak(&mut watch)?;
        assert_eq!(opened["event"], "opened");
        assert_eq!(opened["conn"]["local"]["port"], server.local_addr()?.port());
        assert_eq!(opened["conn"]["role"], "server");
        assert_eq!(opened["conn"]["seen_from_start"], true);
        assert_eq!(opened["owner"]["pid"], std::process::id());
        assert_eq!(opened["owner"]["source"], "proc");
        assert_eq!(opened["stuck"]["age_known"], "observed");
        assert_eq!(opened["stuck"]["age_at_most_ms"], opened["stuck"]["age_ms"]);
        assert_eq!(opened["stuck"]["verdict"], "eof_read");
        assert_eq!(opened["stuck"]["resolved_by"], Value::Null);
        let fds = opened["stuck"]["fds"].as_array().ok_or("no descriptors")?;
        assert_eq!(fds.len(), 1);
        assert!(age(&opened)? >= 300.0, "{opened}");
        drop(server);
        let resolved = leak(&mut watch)?;
        assert_eq!(resolved["event"], "resolved");
        assert_eq!(resolved["stuck"]["resolved_by"], "closed");
        assert_eq!(resolved["stuck"]["since"], opened["stuck"]["since"]);
        assert!(age(&resolved)? >= age(&opened)?);
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}

#[test]
fn a_process_that_exits_is_reported_as_the_end() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        for unread in [false, true] {
            let server = match unread {
                false => Pair::forgotten()?,
                // With unread data the exit resets: no FIN, and CLOSE at once.
                true => Pair::new()?.closed_after(b"hello", Some(2))?,
            };
            let sleeper = Sleeper::with(&server, &[207])?;
            drop(server);
            let opened = leak(&mut watch)?;
            assert_eq!(opened["owner"]["pid"], sleeper.pid());
            assert_eq!(opened["stuck"]["fds"], serde_json::json!([207]));
            drop(sleeper);
            let resolved = leak(&mut watch)?;
            assert_eq!(resolved["event"], "resolved");
            assert_eq!(resolved["stuck"]["resolved_by"], "process_exited");
        }
        Ok(())
    })
}

#[test]
fn a_reset_by_the_peer_is_reported_as_the_end() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let Pair { client, server } = Pair::new()?.half_closed()?;
        assert_eq!(leak(&mut watch)?["stuck"]["verdict"], "eof_unread");
        // A second close() with SO_LINGER of 0 sends a RST.
        reset_on_close(&client);
        drop(client);
        let resolved = leak(&mut watch)?;
        assert_eq!(resolved["event"], "resolved");
        assert_eq!(resolved["stuck"]["resolved_by"], "reset");
        drop(server);
        Ok(())
    })
}

#[test]
fn sockets_stuck_before_the_start_have_an_estimated_age() -> TestResult {
    in_traced_network(|netns| {
        let server = Pair::forgotten()?;
        thread::sleep(Duration::from_millis(400));
        let mut watch = watch_as_json(netns, &[])?;
        let ongoing = leak(&mut watch)?;
        assert_eq!(ongoing["event"], "ongoing");
        assert_eq!(ongoing["stuck"]["age_known"], "estimated");
        assert_eq!(ongoing["conn"]["seen_from_start"], false);
        assert!(age(&ongoing)? >= 400.0, "{ongoing}");
        drop(server);
        let resolved = leak(&mut watch)?;
        assert_eq!(resolved["stuck"]["resolved_by"], "closed");
        assert_eq!(resolved["stuck"]["age_known"], "estimated");
        Ok(())
    })
}

#[test]
fn an_unaccepted_connection_belongs_to_the_listening_process() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        not_accepted(&listener)?;
        let opened = leak(&mut watch)?;
        assert_eq!(opened["stuck"]["verdict"], "not_accepted");
        assert_eq!(opened["owner"]["pid"], std::process::id());
        assert_eq!(opened["owner"]["source"], "listen");
        drop(listener);
        watch.wait_for("resolved")?;

        // Its connections are IPv4, though it is not.
        let listener = std::net::TcpListener::bind("[::ffff:127.0.0.1]:0")?;
        let to = std::net::SocketAddr::from(([127, 0, 0, 1], listener.local_addr()?.port()));
        drop(std::net::TcpStream::connect(to)?);
        let opened = leak(&mut watch)?;
        assert_eq!(opened["stuck"]["verdict"], "not_accepted");
        assert_eq!(opened["owner"]["pid"], std::process::id());
        assert_eq!(opened["stuck"]["fds"].as_array().map(Vec::len), Some(1));
        assert_eq!(opened["conn"]["role"], "server");
        Ok(())
    })
}

#[test]
fn a_half_close_in_use_is_not_stuck_until_it_is_idle() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let mut pair = Pair::new()?.half_closed()?;
        assert_eq!(pair.server.read(&mut [0])?, 0);
        for _ in 0..12 {
            pair.server.write_all(b"tick")?;
            pair.client.read_exact(&mut [0; 4])?;
            thread::sleep(Duration::from_millis(60));
        }
        let opened = leak(&mut watch)?;
        assert_eq!(opened["stuck"]["verdict"], "eof_read");
        assert!(
            age(&opened)? >= 1_000.0,
            "reported only after it rested: {opened}"
        );
        Ok(())
    })
}

#[test]
fn filters_hold_for_stuck_sockets_too() -> TestResult {
    in_traced_network(|netns| {
        let (first, second) = (Pair::forgotten()?, Pair::forgotten()?);
        let sleeper = Sleeper::with(&second, &[207])?;
        let port = second.local_addr()?.port();
        for filter in [
            ["--local-ports".to_owned(), port.to_string()],
            ["--pid".to_owned(), sleeper.pid().to_string()],
        ] {
            let mut watch = watch_as_json(netns, &[&filter[0], &filter[1]])?;
            let leak = leak(&mut watch)?;
            assert_eq!(leak["conn"]["local"]["port"], port, "{filter:?}: {leak}");
            let holders = leak["holders"].as_array().ok_or("no holders")?;
            assert_eq!(holders.len(), 2, "this process and the other: {leak}");
        }
        drop(first);
        Ok(())
    })
}

#[test]
fn a_process_that_leaks_on_gets_a_forecast() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let mut held = Vec::new();
        for round in 1..=4 {
            held.push(Pair::forgotten()?);
            let opened = leak(&mut watch)?;
            assert_eq!(opened["process"]["stuck"], round, "{opened}");
            let left = &opened["process"]["growth"]["exhausted_in_ms"];
            assert_eq!(left.is_number(), round >= 3, "{round}: {opened}");
        }
        drop(held);
        assert_eq!(leak(&mut watch)?["event"], "resolved");
        Ok(())
    })
}

#[test]
fn in_the_table_a_process_has_one_line_for_its_stuck_sockets() -> TestResult {
    in_traced_network(|netns| {
        let held: Vec<TcpStream> = (0..5)
            .map(|_| Pair::forgotten())
            .collect::<Result<_, _>>()?;
        let mut watch = watch(netns, &[])?;
        let line = watch.wait_for(" stuck in ")?;
        let pid = std::process::id().to_string();
        for words in [
            &pid,
            " 5 sockets stuck in CLOSE_WAIT (oldest ~",
            ": tcpclose leaks ",
        ] {
            assert!(line.contains(words), "{words}: {line}");
        }
        drop(held);
        // Each close has its line at once, and the process the next one after a minute, or here.
        for _ in 0..5 {
            watch.wait_for(&format!(" {pid} "))?;
        }
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}

#[test]
fn connections_that_are_closed_in_time_are_not_reported() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &["--count", "60"])?;
        for _ in 0..30 {
            drop(Pair::forgotten()?);
        }
        let mut records = Vec::new();
        for line in &mut watch.lines {
            records.push(serde_json::from_str::<Value>(&line?)?);
        }
        assert_eq!(records.len(), 60);
        assert!(records.iter().all(|record| record["kind"] == "close"));
        Ok(())
    })
}

/// A running `tcpclose leaks --watch` that traces, once it has scanned for the first time.
fn watch_scans(netns: &str) -> Fallible<Watch> {
    let mut command = Command::new(program::path());
    command
        .args(["leaks", "--netns", netns, "--watch", "100ms"])
        .args(["--min-age", "300ms", "--format", "json"])
        .stdin(Stdio::null());
    let mut watch = Watch::spawn(&mut command)?;
    leak(&mut watch)?;
    Ok(watch)
}

#[test]
fn sockets_that_become_stuck_during_a_watch_have_an_exact_age_and_resolution() -> TestResult {
    in_traced_network(|netns| {
        let before = Pair::forgotten()?;
        thread::sleep(Duration::from_millis(400));
        let mut watch = watch_scans(netns)?;
        let server = Pair::forgotten()?;
        let opened = leak(&mut watch)?;
        assert_eq!(opened["event"], "opened");
        assert_eq!(opened["stuck"]["age_known"], "observed");
        assert!(age(&opened)? >= 300.0, "{opened}");
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        drop(sleeper);
        let resolved = leak(&mut watch)?;
        assert_eq!(resolved["stuck"]["resolved_by"], "process_exited");
        assert_eq!(resolved["stuck"]["since"], opened["stuck"]["since"]);
        drop(before);
        let resolved = leak(&mut watch)?;
        assert_eq!(resolved["stuck"]["age_known"], "estimated");
        assert_eq!(resolved["stuck"]["resolved_by"], "closed");
        Ok(())
    })
}

#[test]
fn where_nothing_can_be_traced_leaks_watch_reports_it_and_estimates() -> TestResult {
    in_own_network(|netns| {
        let _server = Pair::forgotten()?;
        let mut command = Command::new(program::path());
        command
            .args(["leaks", "--netns", netns, "--watch", "20ms", "--count", "3"])
            .args(["--min-age", "0s", "--format", "json"]);
        // It may look into processes, and nothing else.
        with_only_capabilities(&mut command, CapabilitySet::SYS_PTRACE);
        let output = command.output()?;
        let stderr = String::from_utf8(output.stderr)?;
        assert_eq!(
            stderr.matches("all ages are estimated").count(),
            1,
            "{stderr}"
        );
        let stdout = String::from_utf8(output.stdout)?;
        let record: Value = serde_json::from_str(stdout.lines().next().ok_or("nothing")?)?;
        assert_eq!(record["stuck"]["age_known"], "estimated");
        assert_eq!(output.status.code(), Some(1));
        Ok(())
    })
}

#[test]
fn the_classic_tracepoint_does_not_hide_stuck_sockets() -> TestResult {
    in_traced_network(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        let mut command = watch_command(&["--no-btf", "--format", "json", "-L", &port]);
        with_tracefs(&mut command);
        let mut watch = Watch::attached(&mut command)?;
        let server = Pair::through(&listener)?.closed_after(b"hello", None)?;
        let opened = leak(&mut watch)?;
        assert_eq!(opened["stuck"]["verdict"], "eof_read");
        assert_eq!(opened["owner"]["pid"], std::process::id());
        let number = std::fs::read_link(netns)?.to_string_lossy().into_owned();
        assert_eq!(number, format!("net:[{}]", opened["netns"]));
        drop(server);
        assert_eq!(leak(&mut watch)?["event"], "resolved");
        Ok(())
    })
}
