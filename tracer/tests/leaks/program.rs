//! Running `tcpclose leaks`.

use std::io;
use std::process::{Command, Stdio};

use tcpclose_kit::process::CommandOutput;

/// `TCPCLOSE_BIN`, or what cargo has built for this test.
pub fn path() -> String {
    std::env::var("TCPCLOSE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tcpclose").to_owned())
}

/// `tcpclose leaks`, to be given arguments.
pub fn leaks(args: &[&str]) -> Command {
    let mut command = Command::new(path());
    command.arg("leaks").args(args).stdin(Stdio::null());
    command
}

/// Scans once for stuck sockets of any age.
pub fn scan(args: &[&str]) -> io::Result<CommandOutput> {
    leaks(&["--min-age", "0s"])
        .args(args)
        .output()
        .map(CommandOutput::from)
}

/// Scans one namespace once, as JSON.
pub fn records(netns: &str) -> io::Result<CommandOutput> {
    scan(&["--netns", netns, "--format", "json"])
}
