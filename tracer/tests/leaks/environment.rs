//! A host that does not stand still.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::program::{self, leaks, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::TestResult;
use tcpclose_kit::command::inherit;
use tcpclose_kit::command::without_proc;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::own_network::{in_new_netns, in_own_network};
use tcpclose_kit::process::CommandOutput;

/// Does `disturb` over and over in other threads while `work` runs.
fn while_others<T>(disturb: impl Fn() + Sync, work: impl FnOnce() -> T) -> T {
    /// Informs the others, also when `work` panics.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    disturb();
                }
            });
        }
        work()
    })
}

#[test]
fn processes_that_exit_while_they_are_read_are_not_a_gap() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        let port = server.local_addr()?.port().to_string();
        drop(server);
        let spawn = || {
            let _ = Command::new("true").stdin(Stdio::null()).status();
        };
        while_others(spawn, || -> TestResult {
            for _ in 0..20 {
                let ended = scan(&["--format", "json", "-L", &port])?;
                assert_eq!(ended.code, Some(1), "{}", ended.stderr);
                assert_eq!(ended.record()["owner"]["pid"], sleeper.pid());
            }
            Ok(())
        })
    })
}

#[test]
fn holders_that_exit_while_they_are_read_leave_a_socket_without_one_or_none() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let spawn = || {
            let sleeper = Sleeper::with(&server, &[207]);
            drop(sleeper);
        };
        while_others(spawn, || -> TestResult {
            for _ in 0..20 {
                let ended = scan(&["--netns", netns, "--format", "json"])?;
                assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
                let holders = ended.record()["holders"].clone();
                let has = |pid: u32| {
                    holders
                        .as_array()
                        .into_iter()
                        .flatten()
                        .any(|holder| holder["pid"] == pid)
                };
                assert!(has(std::process::id()), "{holders}");
            }
            Ok(())
        })
    })
}

#[test]
fn a_socket_closed_during_the_search_for_its_holder_is_not_reported() -> TestResult {
    in_own_network(|netns| {
        let kept = Pair::forgotten()?;
        let come_and_go = || {
            let _ = Pair::new().map(|pair| {
                drop(pair.client);
                thread::yield_now();
                drop(pair.server);
            });
        };
        while_others(come_and_go, || -> TestResult {
            let mut unknown = 0;
            for _ in 0..40 {
                let ended = scan(&["--netns", netns, "--format", "json"])?;
                let records = ended.records();
                let owners = records
                    .iter()
                    .map(|record| &record["stuck"]["owner_unknown"]);
                unknown += owners.filter(|unknown| !unknown.is_null()).count();
            }
            // A thread that is kept from the processor in the midst of close() is what remains.
            assert!(unknown <= 1, "{unknown}");
            Ok(())
        })?;
        drop(kept);
        Ok(())
    })
}

#[test]
fn without_proc_only_the_own_namespace_is_scanned_and_the_gap_is_reported() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let mut command = leaks(&["--min-age", "0s", "-L", &port]);
        without_proc(&mut command);
        let ended = CommandOutput::from(command.output()?);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stdout.contains("1 eof_read"), "{}", ended.stdout);
        assert!(
            ended.stderr.contains("/proc is not mounted"),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        drop(server);
        Ok(())
    })
}

#[test]
fn namespaces_that_vanish_are_not_a_gap() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let come_and_go = || {
            let _ = in_new_netns(|_| Ok(()));
        };
        while_others(come_and_go, || -> TestResult {
            for _ in 0..20 {
                let ended = scan(&["--format", "json", "-L", &port])?;
                assert_eq!(ended.code, Some(1), "{}", ended.stderr);
            }
            Ok(())
        })
    })
}

#[test]
fn sockets_that_come_and_go_hide_none_that_stays() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        // A new thread lives where the one does that starts it.
        let come_and_go = || {
            let _ = Pair::new();
        };
        while_others(come_and_go, || -> TestResult {
            for _ in 0..20 {
                let ended = scan(&["--netns", netns, "--format", "json", "-L", &port])?;
                assert_eq!(ended.record()["conn"]["local"]["port"].to_string(), port);
            }
            Ok(())
        })
    })
}

#[test]
fn a_reader_that_goes_away_is_not_a_failure() -> TestResult {
    in_own_network(|netns| {
        let _server = Pair::forgotten()?;
        let mut child = leaks(&["--min-age", "0s", "--netns", netns, "--watch", "10ms"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(child.stdout.take());
        let output = child.wait_with_output()?;
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
        Ok(())
    })
}

#[test]
fn a_reader_that_went_away_before_the_only_scan_is_not_a_failure() -> TestResult {
    in_own_network(|netns| {
        let _server = Pair::forgotten()?;
        for format in ["table", "json"] {
            let (reader, writer) = std::io::pipe()?;
            drop(reader);
            let mut command = leaks(&["--min-age", "0s", "--netns", netns, "--format", format]);
            let output = command.stdout(writer).stderr(Stdio::piped()).output()?;
            assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]));
        }
        Ok(())
    })
}

#[test]
fn a_closed_stderr_does_not_stop_a_scan() -> TestResult {
    in_own_network(|netns| {
        let _server = Pair::forgotten()?;
        let (reader, closed) = std::io::pipe()?;
        drop(reader);
        let full = std::fs::File::options().write(true).open("/dev/full")?;
        let pids = format!("{},{}", std::process::id(), u32::MAX);
        for stderr in [Stdio::from(full), Stdio::from(closed)] {
            let mut command = leaks(&["--min-age", "0s", "--netns", netns, "-p", &pids]);
            let ended = CommandOutput::from(command.stderr(stderr).output()?);
            assert_eq!(ended.code, Some(2));
            assert!(ended.stdout.contains("1 eof_read"), "{}", ended.stdout);
        }
        Ok(())
    })
}

#[test]
fn bad_usage_is_exit_code_2() -> TestResult {
    for args in [
        &["--min-age", "soon"][..],
        &["--watch", "0s"],
        &["--count", "3"],
        &["-L", "0"],
        &["-4", "-6"],
        &["--netns", "no-such-namespace"],
    ] {
        let ended = scan(args)?;
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{args:?}");
        assert!(!ended.stderr.is_empty(), "{args:?}");
    }
    Ok(())
}

#[test]
fn the_highest_process_ids_of_a_pid_namespace_are_read_as_they_are() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        // Since 6.14 each pid namespace has a limit of its own: there, the highest that there can
        // be.
        let highest: u32 = if kernel_version() >= (6, 14) {
            4_194_304
        } else {
            std::fs::read_to_string("/proc/sys/kernel/pid_max")?
                .trim()
                .parse()?
        };
        // Ids count up to the limit; then they begin anew, behind those of the first processes.
        let script = format!(
            r#"test {highest} = "$(cat /proc/sys/kernel/pid_max)" || echo {highest} > /proc/sys/kernel/pid_max
            echo {} > /proc/sys/kernel/ns_last_pid
            sleep 1000 &
            exec "$0" leaks --min-age 0s --netns /proc/self/ns/net --format json"#,
            highest - 2
        );
        let mut command = Command::new("unshare");
        command
            .args([
                "--pid",
                "--fork",
                "--mount-proc",
                "--kill-child",
                "sh",
                "-c",
            ])
            .args([&*script, &program::path()]);
        inherit(&mut command, &server, &[207]);
        let ended = CommandOutput::from(command.output()?);
        let record = ended.record();
        let holders = record["holders"].as_array().ok_or("no holders")?;
        let pids: Vec<u64> = holders
            .iter()
            .filter_map(|holder| holder["pid"].as_u64())
            .collect();
        assert!(
            pids.contains(&u64::from(highest - 1)),
            "{pids:?}\n{}",
            ended.stderr
        );
        Ok(())
    })
}
