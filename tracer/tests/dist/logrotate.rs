//! The logrotate file, against logrotate.

use crate::tool::{dist, find, read, run};

#[test]
fn logrotate_accepts_the_file() {
    let Some(mut logrotate) = find("logrotate") else {
        return;
    };
    let file = dist().join("tcpclose-agent.logrotate");
    let (is_good, output) = run(&mut logrotate, ["--debug".as_ref(), file.as_os_str()]);
    let faults = output.lines().filter(|line| line.starts_with("error:"));
    assert!(is_good && faults.count() == 0, "{output}");
    assert!(output.contains("/var/log/tcpclose/*.jsonl"), "{output}");
}

/// As on a host on which the agent is stopped: here it is not even known.
#[test]
fn nothing_is_wrong_where_the_agent_does_not_run() {
    let Some(_) = find("systemctl") else {
        return;
    };
    let file = read("tcpclose-agent.logrotate");
    let (_, script) = file.split_once("    postrotate\n").expect("a script");
    let (script, _) = script.split_once("    endscript").expect("its end");
    let mut shell = std::process::Command::new("sh");
    let (is_good, output) = run(&mut shell, ["-e", "-c", script]);
    assert!(is_good, "{output}");
}
