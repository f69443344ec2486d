//! Running `tcpclose leaks`.

use std::io;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What it said.
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    /// Its JSON records.
    pub fn records(&self) -> Vec<Value> {
        let parse =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// Its only record.
    pub fn record(&self) -> Value {
        let mut records = self.records();
        assert_eq!(records.len(), 1, "{}\n{}", self.stdout, self.stderr);
        records.remove(0)
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8 comes out, whatever goes in");
        Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}

/// `tcpclose leaks`, to be given arguments.
pub fn leaks(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    command.arg("leaks").args(args).stdin(Stdio::null());
    command
}

/// One look for what is of any age.
pub fn look(args: &[&str]) -> io::Result<Said> {
    leaks(&["--min-age", "0s"])
        .args(args)
        .output()
        .map(Said::from)
}

/// One look in one namespace, as JSON.
pub fn records(netns: &str) -> io::Result<Said> {
    look(&["--netns", netns, "--format", "json"])
}
