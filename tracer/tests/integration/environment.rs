//! Environments that lack something, and what the program costs when nothing happens.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::lab::Lab;
use crate::harness::sockets::{Connection, Family};
use crate::harness::watch::Watch;
use crate::harness::{program, requirements};
use rustix::thread::CapabilitySet;
use tcpclose_kit::command;
use tcpclose_kit::process::{CommandOutput, run};
use tcpclose_kit::scratch::Scratch;

fn assert_refused(ended: &CommandOutput) {
    program::assert_no_panic(&ended.stderr);
    assert_eq!(ended.code, Some(2), "exit code; stderr: {}", ended.stderr);
    assert_eq!(ended.stdout, "", "stdout");
    let output = ended.stderr.to_lowercase();
    let named = ["root", "cap_bpf", "cap_perfmon", "cap_sys_admin"]
        .iter()
        .any(|word| output.contains(word));
    assert!(
        named,
        "names neither root nor a capability: {}",
        ended.stderr
    );
    assert!(
        ended.stderr.lines().count() <= 3,
        "one clear sentence: {}",
        ended.stderr
    );
}

/// The program where any user can run it.
fn for_everybody(scratch: &Scratch) -> PathBuf {
    let copy = scratch.path("tcpclose");
    fs::copy(program::path(), &copy).expect("a copy of the program");
    for path in [scratch.folder(), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("readable for all");
    }
    copy
}

#[test]
fn an_ordinary_user_gets_a_list_of_what_is_missing() {
    if !requirements::can_trace() {
        return;
    }
    let scratch = Scratch::new();
    let program = for_everybody(&scratch);
    for args in [
        &["watch"][..],
        &["watch", "--format", "json"],
        &["watch", "--transitions"],
    ] {
        let mut command = Command::new(&program);
        command::as_unprivileged_user(command.args(args));
        assert_refused(&run(&mut command));
    }
}

#[test]
fn root_without_capabilities_gets_a_list_of_what_is_missing() {
    if !requirements::can_trace() {
        return;
    }
    let mut command = program::command();
    command::with_only_capabilities(command.arg("watch"), CapabilitySet::empty());
    assert_refused(&run(&mut command));
}

/// `doctor` is for exactly these surroundings: it names what is missing and does not fail to run.
#[test]
fn doctor_explains_to_an_ordinary_user() {
    if !requirements::can_trace() {
        return;
    }
    let scratch = Scratch::new();
    let mut command = Command::new(for_everybody(&scratch));
    command::as_unprivileged_user(command.arg("doctor"));
    let ended = run(&mut command);
    program::assert_no_panic(&ended.stderr);
    let output = format!("{}{}", ended.stdout, ended.stderr).to_lowercase();
    assert!(
        output.contains("root") || output.contains("cap_"),
        "{output}"
    );
}

#[test]
fn doctor_finds_nothing_missing_for_root() {
    if !requirements::can_trace() {
        return;
    }
    let ended = run(program::command().arg("doctor"));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.is_empty());
}

#[test]
fn an_idle_watch_sleeps() {
    const IDLE: Duration = Duration::from_secs(3);
    const MOST_WAKEUPS: u64 = 60;
    let Some(lab) = Lab::not_yet_watching(Family::V4) else {
        return;
    };
    let watch = Watch::start(&lab.ns, &[]);
    // What starting still has to do is no idling.
    thread::sleep(Duration::from_millis(500));
    let before = watch.voluntary_switches();
    thread::sleep(IDLE);
    let wakeups = watch.voluntary_switches() - before;
    assert!(
        wakeups < MOST_WAKEUPS,
        "{wakeups} wake-ups in {IDLE:?} without an event"
    );
    watch.stop();
}

/// The table for people: a line a close, aligned, and narrow enough.
#[test]
fn the_table_fits_a_terminal() {
    const WIDTH: usize = 80;
    let Some(lab) = Lab::not_yet_watching(Family::V4) else {
        return;
    };
    let watch = Watch::start_raw(&lab.ns, &["--format", "table"]);
    let Connection {
        client,
        server,
        listener: _listener,
        ports,
    } = lab.converse("a", "b");
    drop(client);
    drop(server);
    let ends = [ports.client, ports.server].map(|port| format!("127.0.0.1:{port}"));
    let both = |lines: &[String]| {
        let closes = lines
            .iter()
            .filter(|line| ends.iter().any(|end| line.contains(&format!("{end} "))))
            .count();
        (closes == 2).then_some(())
    };
    watch.wait_for("a line for each end", both);
    let lines = watch.stop_raw();
    assert_eq!(lines.len(), 3, "a header and two closes: {lines:#?}");
    for line in &lines {
        assert!(
            line.chars().count() <= WIDTH,
            "{} columns: {line}",
            line.chars().count()
        );
        assert!(
            !line.contains('\x1b'),
            "colours without a terminal: {line:?}"
        );
    }
    let pid = std::process::id().to_string();
    for line in &lines[1..] {
        assert!(
            line.contains(&pid) && line.contains(" closed by "),
            "{line}"
        );
    }
}
