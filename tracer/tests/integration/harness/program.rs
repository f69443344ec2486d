//! The program under test.

use std::process::Command;

use tcpclose_kit::process::{CommandOutput, run};

/// `TCPCLOSE_BIN`, or what cargo has built for this test.
pub fn path() -> String {
    std::env::var("TCPCLOSE_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_tcpclose").to_owned())
}

/// `tcpclose`, to be run where the test runs.
pub fn command() -> Command {
    Command::new(path())
}

/// `tcpclose ARGS` to its end.
pub fn run_with(args: &[&str]) -> CommandOutput {
    run(command().args(args))
}

/// Panics when the text shows that the program has panicked.
pub fn assert_no_panic(stderr: &str) {
    for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!stderr.contains(word), "tcpclose panicked:\n{stderr}");
    }
}
