//! Programs that read what dist/ has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcpclose_kit::skip;

/// Where the files are.
pub fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// What one of them says.
pub fn read(name: &str) -> String {
    let path = dist().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program; `None` where it is not installed: the test is skipped.
pub fn find(program: &str) -> Option<Command> {
    skip::find_program(program).map(Command::new)
}

/// Runs it; what it printed, and whether it was content.
pub fn run<I: AsRef<OsStr>>(
    command: &mut Command,
    args: impl IntoIterator<Item = I>,
) -> (bool, String) {
    let output = command.args(args).output().expect("it is there");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}
