//! Running `tcpclose leaks`.

use std::io;
use std::process::{Command, Stdio};

use tcpclose_kit::process::Ended;

/// `tcpclose leaks`, to be given arguments.
pub fn leaks(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    command.arg("leaks").args(args).stdin(Stdio::null());
    command
}

/// Scans once for stuck sockets of any age.
pub fn scan(args: &[&str]) -> io::Result<Ended> {
    leaks(&["--min-age", "0s"])
        .args(args)
        .output()
        .map(Ended::from)
}

/// Scans one namespace once, as JSON.
pub fn records(netns: &str) -> io::Result<Ended> {
    scan(&["--netns", netns, "--format", "json"])
}
