//! Without the rights to see everything: what is seen is shown, what is not is said, and the exit code is 2.

use std::ffi::CStr;
use std::process::Command;

use crate::program::{leaks, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::Outcome;
use tcpclose_kit::command::as_nobody;
use tcpclose_kit::command::with_proc;
use tcpclose_kit::netns::enter_netns;
use tcpclose_kit::netns::{elsewhere, in_own_network};
use tcpclose_kit::process::Ended;
use tcpclose_kit::skip::skip;

/// Options of a /proc that shows every process. The host's may hide those of other users.
const PLAIN: &CStr = c"";

/// Scans as an ordinary user, with a /proc that is mounted with these options.
fn scan_as_nobody(args: &[&str], proc_options: &'static CStr) -> std::io::Result<Ended> {
    let mut command = leaks(&["--min-age", "0s", "--format", "json"]);
    with_proc(command.args(args), proc_options);
    as_nobody(&mut command);
    command.output().map(Ended::from)
}

#[test]
fn a_socket_is_shown_though_its_holder_may_not_be_seen() -> Outcome {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let said = scan_as_nobody(&["-L", &port], PLAIN)?;
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        let record = said.record();
        assert_eq!(
            (&record["owner"], &record["leak"]["verdict"]),
            (&serde_json::Value::Null, &"eof_read".into())
        );
        assert!(
            said.stderr
                .contains("1 socket has no holder that can be seen"),
            "{}",
            said.stderr
        );
        assert!(said.stderr.contains("CAP_SYS_PTRACE"), "{}", said.stderr);
        drop(server);
        Ok(())
    })
}

#[test]
fn a_namespace_that_may_not_be_entered_is_named() -> Outcome {
    in_own_network(|_| {
        elsewhere(|other| {
            let server = Pair::forgotten()?;
            let said = scan(&["--netns", other])?;
            assert_eq!(said.code, Some(1), "root sees it");
            let sleeper = Sleeper::with(&server, &[207])?;
            drop(server);
            // From the first namespace, where this test's process lives.
            let said = std::thread::scope(|scope| {
                let outside = std::fs::File::open(format!("/proc/{}/ns/net", std::process::id()))?;
                let looking = scope.spawn(move || {
                    enter_netns(&outside)?;
                    scan_as_nobody(&[], PLAIN)
                });
                looking
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;
            assert_eq!(said.code, Some(2), "{}", said.stderr);
            assert!(
                said.stderr.contains("the network namespace of process "),
                "{}",
                said.stderr
            );
            drop(sleeper);
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn hidden_processes_are_said_to_be() -> Outcome {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let said = scan_as_nobody(&["-L", &port], c"hidepid=2")?;
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert_eq!(said.record()["leak"]["verdict"], "eof_read");
        assert!(said.stderr.contains("hidepid"), "{}", said.stderr);
        drop(server);
        Ok(())
    })
}

#[test]
fn hidepid_hides_nothing_from_root() -> Outcome {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        // In the other mount namespace the path leads to the same.
        let mut command = leaks(&["--min-age", "0s", "--format", "json", "--netns", netns]);
        with_proc(&mut command, c"hidepid=2");
        let said = Ended::from(command.output()?);
        assert_eq!((said.code, &*said.stderr), (Some(1), ""));
        assert_eq!(said.record()["owner"]["pid"], sleeper.pid());
        Ok(())
    })
}

#[test]
fn a_holder_outside_of_this_pid_namespace_is_said_to_be_out_of_sight() -> Outcome {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--mount-proc",
            env!("CARGO_BIN_EXE_tcpclose"),
            "leaks",
            "--min-age",
            "0s",
        ]);
        let said = match command.args(["-L", &port]).output() {
            Ok(output) => Ended::from(output),
            Err(error) => {
                skip(&format!("no unshare(1) ({error})"));
                return Ok(());
            }
        };
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stdout.contains("1 eof_read"), "{}", said.stdout);
        assert!(
            said.stderr.contains("outside this container"),
            "{}",
            said.stderr
        );
        drop(server);
        Ok(())
    })
}

#[test]
fn a_holder_outside_is_out_of_sight_also_where_the_namespace_is_named() -> Outcome {
    in_own_network(|_| {
        let _server = Pair::forgotten()?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]);
        command.arg(env!("CARGO_BIN_EXE_tcpclose"));
        command.args(["leaks", "--min-age", "0s", "--netns", "/proc/self/ns/net"]);
        let said = match command.output() {
            Ok(output) => Ended::from(output),
            Err(error) => {
                skip(&format!("no unshare(1) ({error})"));
                return Ok(());
            }
        };
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        let line = "no holder was found, but not every process could be looked into";
        assert!(said.stdout.contains(line), "{}", said.stdout);
        assert!(
            said.stderr.contains("1 socket has no holder"),
            "{}",
            said.stderr
        );
        Ok(())
    })
}

#[test]
fn a_listener_that_may_not_be_looked_into_is_said_to_be_missing() -> Outcome {
    in_own_network(|_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        crate::stuck::not_accepted(&listener)?;
        let said = scan_as_nobody(&["-L", &port], PLAIN)?;
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        let leak = said.record()["leak"].clone();
        assert_eq!(leak["verdict"], "not_accepted");
        assert_eq!(leak["owner_unknown"], "not_inspectable");
        let words = "1 socket has no holder that can be seen";
        assert!(said.stderr.contains(words), "{}", said.stderr);
        Ok(())
    })
}
