//! Programs that read what dist/ has.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the files are.
pub fn dist() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist")
}

/// What one of them says.
pub fn read(name: &str) -> String {
    let path = dist().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program; `None`, which is said, where it is not installed.
pub fn find(program: &str) -> Option<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = format!("{}:/usr/sbin:/sbin", path.to_string_lossy());
    let found = path
        .split(':')
        .map(|folder| Path::new(folder).join(program));
    if let Some(found) = found.into_iter().find(|candidate| candidate.is_file()) {
        return Some(Command::new(found));
    }
    let required = std::env::var_os("TCPCLOSE_TEST_REQUIRE").is_some_and(|value| value == "1");
    assert!(!required, "{program} is not installed");
    eprintln!("skipped: {program} is not installed");
    None
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
