//! The systemd unit.

use std::fs;
use std::path::PathBuf;

use crate::tool::{find, read, run};

const UNIT: &str = "tcpclose-agent.service";

/// The unit as it would be installed, with the program that is tested here in its place.
fn installed(folder: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).expect("cargo's own folder is writable");
    let unit = read(UNIT).replace("/usr/bin/tcpclose", env!("CARGO_BIN_EXE_tcpclose"));
    let path = folder.join(UNIT);
    fs::write(&path, unit).expect("cargo's own folder is writable");
    path
}

#[test]
fn systemd_finds_no_fault_in_it() {
    let Some(mut analyze) = find("systemd-analyze") else {
        return;
    };
    let unit = installed("verify");
    let unit = unit.to_str().expect("cargo's paths are text");
    let (is_good, text) = run(&mut analyze, ["verify", "--man=no", unit]);
    // What it says of units that this machine has is not about ours.
    let ours: Vec<_> = text.lines().filter(|line| line.contains(UNIT)).collect();
    assert!(is_good && ours.is_empty(), "{text}");
}

#[test]
fn its_exposure_is_below_three() {
    let Some(mut analyze) = find("systemd-analyze") else {
        return;
    };
    let unit = installed("security");
    let unit = unit.to_str().expect("cargo's paths are text");
    let args = [
        "security",
        "--offline=yes",
        "--threshold=29",
        "--no-pager",
        unit,
    ];
    let (is_good, text) = run(&mut analyze, args);
    assert!(is_good, "{text}");
}

#[test]
fn each_of_its_capabilities_has_a_reason_beside_it() {
    let unit = read(UNIT);
    let value = |key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let granted = value("CapabilityBoundingSet=");
    assert_eq!(granted, value("AmbientCapabilities="));
    let comments: Vec<_> = unit
        .lines()
        .filter(|line| line.starts_with("#   "))
        .collect();
    for capability in granted.split(' ') {
        let reason = comments.iter().find(|line| line.contains(capability));
        assert!(reason.is_some(), "no reason for {capability}");
    }
}

#[test]
fn it_allows_the_priority_of_the_default_configuration() {
    let config = include_str!("../../src/agent/config/default.toml");
    let mut lines = config.lines();
    let nice = lines.find_map(|line| line.strip_prefix("reader_nice = "));
    let nice = nice.expect("there is a default");
    let unit = read(UNIT);
    assert!(unit.contains(&format!("\nLimitNICE={nice}\n")), "{nice}");
    assert!(unit.contains(" setpriority\n"), "the call is allowed");
}

/// A wrong configuration is refused before the agent hears of it, and is no reason to try again.
#[test]
fn a_wrong_configuration_fails_a_reload_and_is_not_started_again() {
    let unit = read(UNIT);
    let reload: Vec<_> = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecReload="))
        .collect();
    let start = unit
        .lines()
        .find_map(|line| line.strip_prefix("ExecStart="));
    let check = start
        .expect("it starts something")
        .replace("agent ", "agent --check-config ");
    assert_eq!(reload, [&*check, "/bin/kill -HUP $MAINPID"]);
    assert!(unit.contains("\nRestartPreventExitStatus=2\n"));
    let wrong = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("wrong.toml");
    fs::write(&wrong, "intervall = \"1s\"\n").expect("cargo's own folder is writable");
    let arguments = check.replace("/etc/tcpclose/agent.toml", wrong.to_str().expect("text"));
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    let ended = program.args(arguments.split(' ').skip(1)).output();
    assert_eq!(ended.expect("it runs").status.code(), Some(2));
}
