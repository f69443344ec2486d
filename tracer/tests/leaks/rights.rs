//! Without the rights to see everything: what is seen is shown, what is not is reported, and the
//! exit code is 2.

use std::ffi::CStr;
use std::process::Command;

use crate::program::{self, leaks, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::TestResult;
use tcpclose_kit::command::as_unprivileged_user;
use tcpclose_kit::command::with_proc;
use tcpclose_kit::namespace::enter_netns;
use tcpclose_kit::own_network::{in_new_netns, in_own_network};
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::skip::skip;

/// Options of a /proc that shows every process. The host's may hide those of other users.
const PLAIN: &CStr = c"";

/// Scans as an ordinary user, with a /proc that is mounted with these options.
fn scan_as_ordinary_user(
    args: &[&str],
    proc_options: &'static CStr,
) -> std::io::Result<CommandOutput> {
    let mut command = leaks(&["--min-age", "0s", "--format", "json"]);
    with_proc(command.args(args), proc_options);
    as_unprivileged_user(&mut command);
    command.output().map(CommandOutput::from)
}

#[test]
fn a_socket_is_shown_though_its_holder_may_not_be_seen() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let ended = scan_as_ordinary_user(&["-L", &port], PLAIN)?;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let record = ended.record();
        assert_eq!(
            (&record["owner"], &record["stuck"]["verdict"]),
            (&serde_json::Value::Null, &"eof_read".into())
        );
        assert!(
            ended
                .stderr
                .contains("1 socket has no holder that can be seen"),
            "{}",
            ended.stderr
        );
        assert!(ended.stderr.contains("CAP_SYS_PTRACE"), "{}", ended.stderr);
        drop(server);
        Ok(())
    })
}

#[test]
fn a_namespace_that_may_not_be_entered_is_named() -> TestResult {
    in_own_network(|_| {
        in_new_netns(|other| {
            let server = Pair::forgotten()?;
            let ended = scan(&["--netns", other])?;
            assert_eq!(ended.code, Some(1), "root sees it");
            let sleeper = Sleeper::with(&server, &[207])?;
            drop(server);
            // From the first namespace, where this test's process lives.
            let ended = std::thread::scope(|scope| {
                let outside = std::fs::File::open(format!("/proc/{}/ns/net", std::process::id()))?;
                let looking = scope.spawn(move || {
                    enter_netns(&outside)?;
                    scan_as_ordinary_user(&[], PLAIN)
                });
                looking
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            })?;
            assert_eq!(ended.code, Some(2), "{}", ended.stderr);
            assert!(
                ended.stderr.contains("the network namespace of process "),
                "{}",
                ended.stderr
            );
            drop(sleeper);
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn hidden_processes_are_reported() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let ended = scan_as_ordinary_user(&["-L", &port], c"hidepid=2")?;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert_eq!(ended.record()["stuck"]["verdict"], "eof_read");
        assert!(ended.stderr.contains("hidepid"), "{}", ended.stderr);
        drop(server);
        Ok(())
    })
}

#[test]
fn hidepid_hides_nothing_from_root() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        // In the other mount namespace the path leads to the same.
        let mut command = leaks(&["--min-age", "0s", "--format", "json", "--netns", netns]);
        with_proc(&mut command, c"hidepid=2");
        let ended = CommandOutput::from(command.output()?);
        assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
        assert_eq!(ended.record()["owner"]["pid"], sleeper.pid());
        Ok(())
    })
}

#[test]
fn a_holder_outside_of_this_pid_namespace_is_reported_out_of_sight() -> TestResult {
    in_own_network(|_| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let mut command = Command::new("unshare");
        command.args([
            "--pid",
            "--fork",
            "--mount-proc",
            &program::path(),
            "leaks",
            "--min-age",
            "0s",
        ]);
        let ended = match command.args(["-L", &port]).output() {
            Ok(output) => CommandOutput::from(output),
            Err(error) => {
                skip(&format!("no unshare(1) ({error})"));
                return Ok(());
            }
        };
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stdout.contains("1 eof_read"), "{}", ended.stdout);
        assert!(
            ended.stderr.contains("outside this container"),
            "{}",
            ended.stderr
        );
        drop(server);
        Ok(())
    })
}

/// A socket of another network namespace is stuck, which nothing here leads to.
#[test]
fn in_a_pid_namespace_of_its_own_nothing_stuck_is_no_answer_for_the_whole_host() -> TestResult {
    let scan = |args: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--pid", "--fork", "--mount-proc"]);
        command.args([&*program::path(), "leaks"]).args(args);
        command.output().map(CommandOutput::from)
    };
    in_own_network(|_| {
        let _server = Pair::forgotten()?;
        let all = match scan(&[]) {
            Ok(ended) => ended,
            Err(error) => {
                skip(&format!("no unshare(1) ({error})"));
                return Ok(());
            }
        };
        assert_eq!(all.code, Some(2), "{}", all.stderr);
        assert!(
            all.stderr.contains("nor are their network namespaces"),
            "{}",
            all.stderr
        );
        for limit in [["--netns", "/proc/self/ns/net"], ["-p", "1"]] {
            let ended = scan(&limit)?;
            assert_eq!(ended.code, Some(0), "{limit:?}: {}", ended.stderr);
        }
        Ok(())
    })
}

#[test]
fn a_holder_outside_is_out_of_sight_also_where_the_namespace_is_named() -> TestResult {
    in_own_network(|_| {
        let _server = Pair::forgotten()?;
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc"]);
        command.arg(program::path());
        command.args(["leaks", "--min-age", "0s", "--netns", "/proc/self/ns/net"]);
        let ended = match command.output() {
            Ok(output) => CommandOutput::from(output),
            Err(error) => {
                skip(&format!("no unshare(1) ({error})"));
                return Ok(());
            }
        };
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let line = "no holder was found, but not every process could be inspected";
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
        assert!(
            ended.stderr.contains("1 socket has no holder"),
            "{}",
            ended.stderr
        );
        Ok(())
    })
}

#[test]
fn an_uninspectable_listener_is_reported_as_a_gap() -> TestResult {
    in_own_network(|_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port().to_string();
        crate::stuck::not_accepted(&listener)?;
        let ended = scan_as_ordinary_user(&["-L", &port], PLAIN)?;
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let leak = ended.record()["stuck"].clone();
        assert_eq!(leak["verdict"], "not_accepted");
        assert_eq!(leak["owner_unknown"], "not_inspectable");
        let words = "1 socket has no holder that can be seen";
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        Ok(())
    })
}
