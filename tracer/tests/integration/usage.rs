//! Bad usage: exit code 2, one clear sentence on stderr, nothing on stdout. Needs neither root nor
//! eBPF.

use crate::harness::program::{assert_no_panic, run_with};

/// Runs `tcpclose ARGS`; it refuses, and the message holds each of these words.
fn assert_refused(args: &[&str], words: &[&str]) {
    let ended = run_with(args);
    assert_no_panic(&ended.stderr);
    assert_eq!(
        ended.code,
        Some(2),
        "exit code of {args:?}; stderr: {}",
        ended.stderr
    );
    assert_eq!(ended.stdout, "", "stdout of {args:?}");
    let first = ended.stderr.lines().next().unwrap_or_default();
    assert!(
        first.len() > 10,
        "no sentence for {args:?}: {}",
        ended.stderr
    );
    for word in words {
        assert!(
            ended.stderr.contains(word),
            "{args:?}: {word:?} is not mentioned: {}",
            ended.stderr
        );
    }
}

#[test]
fn an_unknown_flag() {
    assert_refused(&["watch", "--frobnicate"], &["--frobnicate"]);
}

#[test]
fn an_unknown_subcommand() {
    assert_refused(&["wotch"], &["wotch"]);
}

#[test]
fn ports_that_are_none() {
    for flag in ["-L", "-D"] {
        for port in [
            "0",
            "65536",
            "abc",
            "80,",
            "80,0",
            "80,abc",
            "1-",
            "4294967376",
            "80,,443",
            "",
        ] {
            assert_refused(&["watch", flag, port], &["port"]);
        }
        // A dash needs the form that clap cannot take for another flag.
        assert_refused(&["watch", &format!("{flag}-1")], &["port"]);
    }
}

#[test]
fn the_highest_port_is_named_in_the_message() {
    assert_refused(&["watch", "-L", "65536"], &["65536", "65535"]);
}

#[test]
fn durations_that_are_none() {
    for duration in [
        "abc",
        "",
        "5 parsecs",
        "1e400s",
        "s",
        "99999999999999999999s",
    ] {
        assert_refused(&["watch", "--duration", duration], &["duration"]);
    }
    assert_refused(&["watch", "--duration=-1s"], &["duration"]);
}

#[test]
fn counts_that_are_none() {
    for count in ["0", "abc", "1.5", "99999999999999999999"] {
        assert_refused(&["watch", "--count", count], &["count"]);
    }
}

#[test]
fn process_ids_that_are_none() {
    for pid in ["abc", "1.5", "4294967296"] {
        assert_refused(&["watch", "-p", pid], &[pid]);
    }
}

#[test]
fn formats_that_are_none() {
    assert_refused(&["watch", "--format", "xml"], &["xml", "json", "table"]);
}

#[test]
fn a_namespace_that_is_none() {
    assert_refused(&["watch", "--netns", "abc"], &["abc"]);
}

#[test]
fn both_families_exclude_each_other() {
    assert_refused(&["watch", "-4", "-6"], &["ipv4", "ipv6"]);
}

#[test]
fn a_flag_without_its_value() {
    for flag in [
        "-L",
        "-D",
        "-p",
        "--count",
        "--duration",
        "--format",
        "--netns",
    ] {
        assert_refused(&["watch", flag], &["value"]);
    }
}

#[test]
fn help_and_version_are_not_errors() {
    for args in [
        &["--help"][..],
        &["--version"],
        &["watch", "--help"],
        &["doctor", "--help"],
    ] {
        let ended = run_with(args);
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        assert!(
            !ended.stdout.is_empty() && ended.stderr.is_empty(),
            "{args:?}"
        );
    }
}

#[test]
fn help_names_every_flag_that_users_of_ss_and_bcc_know() {
    let help = run_with(&["watch", "--help"]).stdout;
    let flags = [
        "-p",
        "-L",
        "-D",
        "-4",
        "-6",
        "--netns",
        "--format",
        "--count",
        "--duration",
        "--transitions",
    ];
    for flag in flags {
        assert!(help.contains(flag), "{flag} in:\n{help}");
    }
}
