//! Who holds a socket.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::program::{records, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::TestResult;
use tcpclose_kit::namespace::enter_netns;
use tcpclose_kit::own_network::{in_new_netns, in_own_network};
use tcpclose_kit::sockets::receive_descriptor;
use tcpclose_kit::sockets::send_descriptor;

#[test]
fn the_process_and_its_descriptor_are_named() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        let ended = records(netns)?;
        let record = ended.record();
        assert_eq!(
            (&record["owner"]["pid"], &record["owner"]["comm"]),
            (&sleeper.pid().into(), &"sleep".into())
        );
        assert_eq!(record["stuck"]["fds"], json!([207]));
        let advice =
            "everything was read, up to the end of stream, and close() was never called on fd 207";
        assert_eq!(record["stuck"]["advice"], advice);
        let process = &record["process"];
        assert_eq!(process["command_line"], json!(["sleep", "1000"]));
        assert!(
            process["exe"].as_str().is_some_and(|exe| exe.contains('/')),
            "{process}"
        );
        let open = process["descriptors"]["open"].as_u64().ok_or("no count")?;
        assert!((4..10).contains(&open), "{process}");
        assert!(
            process["descriptors"]["limit"].as_u64() > Some(0),
            "{process}"
        );
        let table = scan(&["--netns", netns])?.stdout;
        assert!(
            table.contains(&format!("{} sleep", sleeper.pid())) && table.contains(advice),
            "{table}"
        );
        Ok(())
    })
}

#[test]
fn a_process_whose_first_thread_has_exited_is_found() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let Some(sleeper) = Sleeper::without_first_thread(&server, 207)? else {
            return Ok(());
        };
        drop(server);
        for pids in [&[][..], &["-p", &sleeper.pid().to_string()]] {
            let ended = scan(&[&["--netns", netns, "--format", "json"], pids].concat())?;
            let record = ended.record();
            assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
            assert_eq!(record["owner"]["pid"], sleeper.pid());
            assert_eq!(record["stuck"]["fds"], json!([207]));
            let process = &record["process"];
            assert!(
                process["exe"]
                    .as_str()
                    .is_some_and(|exe| exe.contains("python3")),
                "{process}"
            );
            assert_eq!(process["command_line"][1], "-c");
            assert!(
                process["descriptors"]["open"].as_u64() >= Some(4),
                "{process}"
            );
        }
        Ok(())
    })
}

#[test]
fn a_descriptor_that_dup_copied_is_listed_twice() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let _sleeper = Sleeper::with(&server, &[207, 209])?;
        drop(server);
        let record = records(netns)?.record();
        assert_eq!(record["stuck"]["fds"], json!([207, 209]));
        assert_eq!(record["holders"].as_array().map(Vec::len), Some(1));
        Ok(())
    })
}

#[test]
fn all_processes_that_inherited_it_are_listed_and_it_counts_once() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let first = Sleeper::with(&server, &[207])?;
        // Started a tick of the kernel's clock later.
        std::thread::sleep(std::time::Duration::from_millis(30));
        let second = Sleeper::with(&server, &[209])?;
        drop(server);
        let record = records(netns)?.record();
        assert_eq!(
            record["owner"]["pid"],
            first.pid(),
            "the one that started first"
        );
        let expected = json!([
            {"pid": first.pid(), "comm": "sleep", "fds": [207]},
            {"pid": second.pid(), "comm": "sleep", "fds": [209]},
        ]);
        assert_eq!(record["holders"], expected);
        let table = scan(&["--netns", netns, "--all"])?.stdout;
        assert!(
            table.contains(&format!("also held by {} sleep", second.pid())),
            "{table}"
        );
        assert!(
            table.contains(&format!("{}:207,{}:209", first.pid(), second.pid())),
            "{table}"
        );
        Ok(())
    })
}

#[test]
fn a_descriptor_in_flight_has_no_holder_until_it_is_received() -> TestResult {
    in_own_network(|netns| {
        let (here, there) = UnixStream::pair()?;
        let server = Pair::forgotten()?;
        send_descriptor(&here, &server)?;
        drop(server);
        let ended = records(netns)?;
        let record = ended.record();
        assert_eq!(
            (&record["owner"], &record["holders"]),
            (&json!(null), &json!([]))
        );
        assert_eq!(record["stuck"]["verdict"], "eof_read");
        let table = scan(&["--netns", netns])?.stdout;
        assert!(table.contains("1 eof_read"), "{table}");

        let received = receive_descriptor(&there)?;
        let record = records(netns)?.record();
        assert_eq!(record["owner"]["pid"], std::process::id());
        assert_eq!(record["stuck"]["fds"], json!([received.as_raw_fd()]));
        Ok(())
    })
}

#[test]
fn a_holder_in_another_network_namespace_is_found() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        in_new_netns(move |other| {
            let sleeper = Sleeper::with(&server, &[207])?;
            drop(server);
            assert_ne!(std::fs::read_link(other)?, std::fs::read_link(netns)?);
            let lives = std::fs::read_link(format!("/proc/{}/ns/net", sleeper.pid()))?;
            assert_eq!(lives, std::fs::read_link(other)?);
            assert_eq!(records(netns)?.record()["owner"]["pid"], sleeper.pid());
            Ok(())
        })?;
        Ok(())
    })
}

#[test]
fn a_namespace_need_not_be_named_to_be_found() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        let port = server.local_addr()?.port().to_string();
        drop(server);
        let ended = scan(&[
            "--format",
            "json",
            "-L",
            &port,
            "-p",
            &sleeper.pid().to_string(),
        ])?;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let number = std::fs::read_link(netns)?.to_string_lossy().into_owned();
        let record = ended.record();
        assert_eq!(number, format!("net:[{}]", record["netns"]));
        Ok(())
    })
}

#[test]
fn a_namespace_that_only_a_thread_lives_in_is_found() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let port = server.local_addr()?.port().to_string();
        let number = std::fs::read_link(netns)?.to_string_lossy().into_owned();
        // From the first namespace, where this test's process lives.
        let ended = std::thread::scope(|scope| {
            let outside = std::fs::File::open(format!("/proc/{}/ns/net", std::process::id()))?;
            let looking = scope.spawn(move || {
                enter_netns(&outside)?;
                scan(&["--format", "json", "-L", &port])
            });
            looking
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        let record = ended.record();
        assert_eq!(number, format!("net:[{}]", record["netns"]));
        drop(server);
        Ok(())
    })
}

#[test]
fn all_holders_are_listed_whichever_process_is_requested() -> TestResult {
    in_own_network(|netns| {
        let (shared, other) = (Pair::forgotten()?, Pair::forgotten()?);
        let first = Sleeper::with(&shared, &[207])?;
        std::thread::sleep(std::time::Duration::from_millis(30));
        let second = Sleeper::with(&shared, &[209])?;
        drop(shared);
        let pid = second.pid();
        let asked = format!("{pid},{pid}");
        let ended = scan(&["--netns", netns, "--format", "json", "-p", &asked])?;
        let expected = json!([
            {"pid": first.pid(), "comm": "sleep", "fds": [207]},
            {"pid": pid, "comm": "sleep", "fds": [209]},
        ]);
        assert_eq!(ended.record()["holders"], expected);
        assert_eq!((ended.code, &*ended.stderr), (Some(1), ""));
        drop(other);
        Ok(())
    })
}

#[test]
fn only_the_requested_processes_are_reported() -> TestResult {
    in_own_network(|netns| {
        let (mine, yours) = (Pair::forgotten()?, Pair::forgotten()?);
        let sleeper = Sleeper::with(&yours, &[207])?;
        drop(yours);
        let of = |pid: u32| scan(&["--netns", netns, "--format", "json", "-p", &pid.to_string()]);
        assert_eq!(of(sleeper.pid())?.record()["stuck"]["fds"], json!([207]));
        let own = of(std::process::id())?.record();
        assert_eq!(own["conn"]["local"]["port"], mine.local_addr()?.port());
        let pid = sleeper.pid();
        drop(sleeper);
        let gone = of(pid)?;
        assert_eq!((gone.code, &*gone.stdout), (Some(2), ""));
        assert!(
            gone.stderr.contains(&format!("there is no process {pid}")),
            "{}",
            gone.stderr
        );
        Ok(())
    })
}

#[test]
fn the_worst_owner_comes_first() -> TestResult {
    in_own_network(|netns| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let forgotten = |_| Pair::through(&listener)?.closed_after(b"", None);
        let many = (0..3).map(forgotten).collect::<io::Result<Vec<_>>>()?;
        let few = Pair::forgotten()?;
        let one = Sleeper::with(&few, &[207])?;
        drop(few);
        let table = scan(&["--netns", netns])?.stdout;
        let at = |words: &str| table.find(words).ok_or(format!("no {words:?} in {table}"));
        assert!(
            at("\n    3 ")? < at(&format!("{} sleep", one.pid()))?,
            "{table}"
        );
        let port = listener.local_addr()?.port();
        at(&format!("local ports {port} (3); peers 127.0.0.1 (3)"))?;
        at("4 sockets stuck in CLOSE_WAIT\n")?;
        drop(many);
        Ok(())
    })
}
