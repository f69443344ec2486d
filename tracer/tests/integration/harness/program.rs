//! The program under test.

use std::process::Command;

use tcpclose_kit::process::{CommandOutput, run};

pub fn path() -> String {
    tcpclose_kit::program_path(env!("CARGO_BIN_EXE_tcpclose"))
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
