//! How a watch ends, and that several can run.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use crate::harness::lab::Lab;
use crate::harness::program;
use crate::harness::sockets::{Connection, Family};
use crate::harness::watch::{Watch, closes_in};
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::Endpoint::{Client, Server};

/// A lab whose own watch is not used.
fn lab() -> Option<Lab> {
    Lab::not_yet_watching(Family::V4)
}

/// A connection that is reset: both records come at once.
fn visit(lab: &Lab) {
    let Connection {
        client,
        server: _server,
        listener: _listener,
        ..
    } = lab.connect();
    reset_on_close(&client);
    drop(client);
}

#[test]
fn count_stops_after_that_many_closes() {
    let Some(lab) = lab() else { return };
    for count in [1, 3, 4] {
        let watch = Watch::start(&lab.ns, &["--count", &count.to_string()]);
        for _ in 0..4 {
            visit(&lab);
        }
        assert_eq!(watch.ended().len(), count);
    }
}

#[test]
fn duration_stops_after_that_time() {
    let Some(lab) = lab() else { return };
    let start = Instant::now();
    let watch = Watch::start(&lab.ns, &["--duration", "2s"]);
    visit(&lab);
    assert_eq!(watch.ended().len(), 2);
    assert!(
        start.elapsed() >= Duration::from_secs(2),
        "stopped too early"
    );
}

/// What is known when the time is over is still written.
#[test]
fn an_interrupt_is_a_clean_end_without_any_close() {
    let Some(lab) = lab() else { return };
    assert_eq!(Watch::start(&lab.ns, &[]).stop().len(), 0);
}

#[test]
fn closes_just_before_an_interrupt_are_not_lost() {
    let Some(lab) = lab() else { return };
    let watch = Watch::start(&lab.ns, &[]);
    for _ in 0..10 {
        visit(&lab);
    }
    assert_eq!(watch.stop().len(), 20);
}

#[test]
fn a_closed_stderr_does_not_stop_it() {
    let Some(lab) = lab() else { return };
    let full = std::fs::File::options().write(true).open("/dev/full");
    let mut command = lab.ns.command(program::path());
    let ended = command
        .args(["watch", "--duration", "100ms"])
        .stdout(std::process::Stdio::null())
        .stderr(full.expect("Linux has it"))
        .status()
        .expect("it runs");
    assert_eq!(ended.code(), Some(0));
}

/// As in `tcpclose watch | head -1`.
#[test]
fn a_closed_pipe_is_a_clean_end() {
    let Some(lab) = lab() else { return };
    for format in ["json", "table"] {
        let inode = lab.ns.inode().to_string();
        let mut command = lab.ns.command(program::path());
        let mut process = ChildProcess::spawn_unread(
            command.args(["watch", "--netns", &inode, "--format", format]),
        );
        let mut stdout = BufReader::new(process.stdout_pipe());
        let mut watch = Watch::adopt(process);
        visit(&lab);
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        assert!(!first.is_empty());
        drop(stdout);
        // It can only notice when it writes.
        let ended = eventually(|| {
            visit(&lab);
            (!watch.is_running()).then_some(())
        });
        assert!(ended.is_some(), "goes on writing into a closed pipe");
        let (code, stderr) = watch.end();
        program::assert_no_panic(&stderr);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(!stderr.to_lowercase().contains("broken pipe"), "{stderr}");
    }
}

#[test]
fn two_watches_see_the_same_closes() {
    let Some(lab) = lab() else { return };
    let watches = [Watch::start(&lab.ns, &[]), Watch::start(&lab.ns, &[])];
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("a", "b");
    drop(client);
    drop(server);
    for _ in 0..5 {
        visit(&lab);
    }
    for watch in &watches {
        watch.close(ports, Client);
        watch.close(ports, Server);
    }
    let seen = watches.map(|watch| {
        let mut closes: Vec<_> = watch
            .stop()
            .iter()
            .map(|close| (close.id(), close.path().to_owned()))
            .collect();
        closes.sort();
        closes
    });
    assert_eq!(seen[0].len(), 12);
    assert_eq!(seen[0], seen[1]);
}

/// Nobody should have to learn the inode of the namespace one is in.
#[test]
fn without_netns_all_namespaces_are_watched() {
    let Some(lab) = lab() else { return };
    let watch = Watch::spawn(program::command().args(["watch", "--format", "json"]));
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("a", "b");
    reset_on_close(&client);
    drop(client);
    drop(server);
    let ours = |lines: &[String]| {
        // Other tests make connections in other namespaces meanwhile.
        let netns = format!("\"netns\":{}", lab.ns.inode());
        let lines: Vec<_> = lines
            .iter()
            .filter(|line| line.contains(&netns))
            .cloned()
            .collect();
        let ours = closes_in(&lines).into_iter().find(|close| {
            close.ports() == ports.seen_from(Client) && *close.get("/netns") == lab.ns.inode()
        });
        ours.map(drop)
    };
    watch.wait_for("the close in another namespace", ours);
    watch.stop();
}
