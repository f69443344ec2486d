//! Running `tcpclose leaks`.

use std::io;
use std::process::{Command, Stdio};

use serde_json::Value;
use tcpclose_kit::process::CommandOutput;

pub fn path() -> String {
    tcpclose_kit::program_path(env!("CARGO_BIN_EXE_tcpclose"))
}

/// `tcpclose leaks`, to be given arguments. It asks none of the agents that other tests run.
pub fn leaks(args: &[&str]) -> Command {
    let mut command = Command::new(path());
    command.args(["leaks", "--agent", "none"]).args(args);
    command.stdin(Stdio::null());
    command
}

/// Scans once for stuck sockets of any age.
pub fn scan(args: &[&str]) -> io::Result<CommandOutput> {
    leaks(&["--min-age", "0s"])
        .args(args)
        .output()
        .map(CommandOutput::from)
}

/// The record of the only socket in CLOSE_WAIT; the peer's end may be in FIN_WAIT2.
pub fn close_wait_record(ended: &CommandOutput) -> Value {
    let mut records = ended.records();
    records.retain(|record| record["stuck"]["state"] == "CLOSE_WAIT");
    assert_eq!(records.len(), 1, "{}", ended.stdout);
    records.remove(0)
}

/// Scans one namespace once, as JSON.
pub fn records(netns: &str) -> io::Result<CommandOutput> {
    scan(&["--netns", netns, "--format", "json"])
}
