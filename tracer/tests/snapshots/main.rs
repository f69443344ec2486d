//! What the program says before it does anything: its help at 80 columns, and how it refuses what
//! it cannot do.
//!
//! `SNAPSHOTS=overwrite cargo test -p tcpclose --test snapshots` writes the kept texts anew; look
//! at `git diff` then.

mod terminal;
mod top;

use snapbox::cmd::{Command, cargo_bin};
use snapbox::file;

/// The program on a terminal of 80 columns, with nothing of this host's environment.
fn tcpclose(args: &[&str]) -> Command {
    Command::new(cargo_bin!("tcpclose"))
        .args(args)
        .env_clear()
        .env("COLUMNS", "80")
        .env("TZ", "UTC")
}

fn help(args: &[&str], kept: snapbox::Data) {
    let help = tcpclose(args).assert().success().stderr_eq("");
    let text = String::from_utf8(help.get_output().stdout.clone()).expect("it is UTF-8");
    let longest = text.lines().map(|line| line.chars().count()).max();
    assert!(longest <= Some(80), "a line of {longest:?} columns");
    help.stdout_eq(kept);
}

/// The program refuses these arguments, says why, and has nothing to say on stdout.
fn refused(args: &[&str], why: snapbox::Data) {
    tcpclose(args).assert().code(2).stdout_eq("").stderr_eq(why);
}

#[test]
fn help_of_the_program() {
    help(&["--help"], file!["help/tcpclose.txt"]);
}

#[test]
fn help_of_watch() {
    help(&["watch", "--help"], file!["help/watch.txt"]);
}

#[test]
fn help_of_leaks() {
    help(&["leaks", "--help"], file!["help/leaks.txt"]);
}

#[test]
fn help_of_triage() {
    help(&["triage", "--help"], file!["help/triage.txt"]);
}

#[test]
fn help_of_ports() {
    help(&["ports", "--help"], file!["help/ports.txt"]);
}

#[test]
fn help_of_resets() {
    help(&["resets", "--help"], file!["help/resets.txt"]);
}

#[test]
fn help_of_explain() {
    help(&["explain", "--help"], file!["help/explain.txt"]);
}

#[test]
fn help_of_compare() {
    help(&["compare", "--help"], file!["help/compare.txt"]);
}

#[test]
fn help_of_top() {
    help(&["top", "--help"], file!["help/top.txt"]);
}

#[test]
fn help_of_report() {
    help(&["report", "--help"], file!["help/report.txt"]);
}

#[test]
fn help_of_dump() {
    help(&["dump", "--help"], file!["help/dump.txt"]);
}

#[test]
fn help_of_record() {
    help(&["record", "--help"], file!["help/record.txt"]);
}

#[test]
fn help_of_agent() {
    help(&["agent", "--help"], file!["help/agent.txt"]);
}

#[test]
fn help_of_doctor() {
    help(&["doctor", "--help"], file!["help/doctor.txt"]);
}

#[test]
fn help_and_version_are_commands_too() {
    let asked = |args: &[&str]| {
        tcpclose(args)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone()
    };
    assert_eq!(asked(&["help", "leaks"]), asked(&["leaks", "--help"]));
    assert_eq!(asked(&["version"]), asked(&["--version"]));
}

#[test]
fn json_is_short_for_its_format() {
    let replay = |args: &[&str]| {
        let file = ["--replay", "tests/data/golden/orderly-closes.rec"];
        let args = [&["watch"], args, &file].concat();
        tcpclose(&args)
            .assert()
            .success()
            .get_output()
            .stdout
            .clone()
    };
    assert_eq!(replay(&["--json"]), replay(&["--format", "json"]));
    let coloured = replay(&["--color", "always"]);
    assert!(coloured.contains(&0x1b) && !replay(&[]).contains(&0x1b));
}

#[test]
fn a_duration_without_a_unit_is_refused() {
    refused(
        &["watch", "--duration", "5"],
        file!["refusals/duration.txt"],
    );
}

#[test]
fn the_default_configuration_is_printed_unchanged() {
    tcpclose(&["agent", "--print-default-config"])
        .assert()
        .success()
        .stdout_eq(file!["../../src/agent/config/default.toml"]);
}

#[test]
fn an_unknown_command_is_refused() {
    refused(&["wacth"], file!["refusals/no_command.txt"]);
}

#[test]
fn a_port_that_no_connection_has_is_refused() {
    refused(&["watch", "-L", "0"], file!["refusals/port.txt"]);
}

#[test]
fn a_file_that_is_not_a_recording_is_refused() {
    refused(
        &["watch", "--replay", "Cargo.toml"],
        file!["refusals/no_recording.txt"],
    );
}

#[test]
fn a_replay_of_leaks_needs_an_interval() {
    refused(
        &["leaks", "--replay", "tests/data/golden/closes.rec"],
        file!["refusals/leaks_replay.txt"],
    );
}

#[test]
fn a_configuration_that_is_not_there_is_refused() {
    refused(
        &["agent", "--check-config", "--config", "no/such.toml"],
        file!["refusals/no_configuration.txt"],
    );
}
