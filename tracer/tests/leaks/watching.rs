//! `tcpclose leaks --watch`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::leaks;
use crate::stuck::{Pair, Sleeper};
use crate::watch::{Fallible, Watch};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::{in_new_netns, in_own_network};
use tcpclose_kit::process::CommandOutput;

fn watch(netns: &str, args: &[&str]) -> Fallible<Watch> {
    let mut command = leaks(&["--netns", netns, "--watch", "100ms"]);
    Watch::spawn(command.args(args))
}

#[test]
fn a_leak_is_reported_when_it_opens_and_when_it_is_resolved() -> TestResult {
    in_own_network(|netns| {
        let first = Pair::forgotten()?;
        let mut watch = watch(netns, &["--min-age", "0s", "--format", "json"])?;
        let record = watch.record("")?;
        assert_eq!(
            (&record["event"], &record["conn"]["local"]["port"]),
            (&"ongoing".into(), &first.local_addr()?.port().into())
        );
        let second = Pair::forgotten()?;
        let record = watch.record("")?;
        let port = Value::from(second.local_addr()?.port());
        assert_eq!(
            (&record["event"], &record["conn"]["local"]["port"]),
            (&"opened".into(), &port)
        );
        drop(second);
        let record = watch.record("")?;
        assert_eq!(
            (&record["event"], &record["conn"]["local"]["port"]),
            (&"resolved".into(), &port)
        );
        assert_eq!(record["owner"]["pid"], std::process::id());
        drop(first);
        assert_eq!(watch.record("")?["event"], "resolved");
        let code = watch.stop()?;
        assert_eq!(code, Some(0));
        Ok(())
    })
}

#[test]
fn a_growing_owner_gets_a_forecast_from_the_third_scan_on() -> TestResult {
    in_own_network(|netns| {
        let mut held = vec![Pair::forgotten()?];
        let mut watch = watch(netns, &["--min-age", "0s"])?;
        for look in 1..=6 {
            let total = watch.wait_for(" stuck")?;
            assert!(total.contains("stuck"), "{total}");
            let mut block = vec![];
            while let Some(line) = watch
                .lines
                .next()
                .transpose()?
                .filter(|line| !line.is_empty())
            {
                block.push(line);
            }
            let block = block.join("\n");
            assert_eq!(block.contains("linear fit"), look >= 3, "{look}: {block}");
            held.push(Pair::forgotten()?);
            if look == 6 {
                assert!(block.contains("grows by "), "{block}");
                assert!(
                    block.contains(", out of file descriptors in about "),
                    "{block}"
                );
                assert!(block.contains("(linear fit of 6 samples in "), "{block}");
            }
        }
        assert_eq!(watch.stop()?, Some(0));
        Ok(())
    })
}

#[test]
fn sockets_in_use_between_scans_are_not_stuck() -> TestResult {
    use std::io::Write as _;
    in_own_network(|netns| {
        let _old = Pair::forgotten()?;
        thread::sleep(Duration::from_millis(500));
        let mut watch = watch(netns, &["--min-age", "500ms", "--format", "json", "--all"])?;
        assert_eq!(watch.record("")?["event"], "ongoing", "the first look");
        let mut pair = Pair::new()?.half_closed()?;
        assert_eq!(pair.server.read(&mut [0])?, 0);
        for _ in 0..12 {
            pair.server.write_all(b"tick")?;
            pair.client.read_exact(&mut [0; 4])?;
            thread::sleep(Duration::from_millis(60));
        }
        // It has been in CLOSE_WAIT for longer than that, but it worked.
        let record = watch.record("")?;
        assert_eq!(
            (&record["event"], &record["stuck"]["verdict"]),
            (&"opened".into(), &"eof_read".into())
        );
        let age = record["stuck"]["age_ms"].as_f64().ok_or("no age")?;
        assert!(age >= 1_000.0, "it was told only after it rested: {age}");
        Ok(())
    })
}

#[test]
fn scans_can_be_limited_and_the_last_one_gives_the_exit_code() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        let run = || {
            leaks(&[
                "--min-age",
                "0s",
                "--netns",
                netns,
                "--watch",
                "10ms",
                "--count",
                "2",
            ])
            .output()
        };
        let some = run()?;
        assert_eq!(some.status.code(), Some(1));
        assert_eq!(
            String::from_utf8(some.stdout)?
                .matches("1 socket stuck")
                .count(),
            2
        );
        drop(sleeper);
        assert_eq!(run()?.status.code(), Some(0));
        Ok(())
    })
}

/// A stuck socket in a namespace of its own, and ten looks at it from here; after the first of them
/// the only thread that lives there ends, with the socket if that is not `kept`. What was reported,
/// and said.
fn outlived(kept: bool) -> Result<CommandOutput, Box<dyn std::error::Error>> {
    let (place, is_there) = channel();
    let (over, is_over) = channel();
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            in_new_netns(move |netns| {
                let server = Pair::forgotten()?;
                let _ = place.send(netns.to_owned());
                let _ = is_over.recv();
                Ok(kept.then_some(server))
            })
        });
        let netns = is_there.recv()?;
        let mut command = leaks(&["--netns", &netns, "--watch", "200ms", "--count", "10"]);
        command.args(["--min-age", "0s", "--format", "json"]);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut reported = String::new();
        lines.read_line(&mut reported)?;
        over.send(())?;
        let server = other
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let output = child.wait_with_output()?;
        lines.read_to_string(&mut reported)?;
        drop(server);
        Ok(CommandOutput {
            code: output.status.code(),
            stdout: reported,
            stderr: String::from_utf8(output.stderr)?,
        })
    })
}

#[test]
fn a_namespace_that_is_gone_took_its_sockets_with_it() -> TestResult {
    in_own_network(|_| {
        let ended = outlived(false)?;
        let records = ended.records();
        let events: Vec<_> = records.iter().map(|record| &record["event"]).collect();
        assert_eq!(events, ["ongoing", "resolved"]);
        assert_eq!(records[1]["owner"]["pid"], std::process::id());
        let words = "is gone: no process lives in it";
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(ended.code, Some(0));
        Ok(())
    })
}

#[test]
fn a_socket_that_outlives_its_namespaces_processes_stays_stuck() -> TestResult {
    in_own_network(|_| {
        let ended = outlived(true)?;
        assert_eq!(ended.record()["event"], "ongoing", "it is not resolved");
        // The socket leads to the namespace.
        assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
        Ok(())
    })
}
