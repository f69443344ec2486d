//! What a test needs and may not find. A missing piece skips the test and says so; with `TCPCLOSE_TEST_REQUIRE=1`
//! (in CI) it fails it.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;

use super::process::Ended;
use super::{process, program, sys};

/// Says that the current test is skipped, past the capturing of the test runner.
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        env::var_os("TCPCLOSE_TEST_REQUIRE").is_none_or(|value| value != "1"),
        "required: {reason}"
    );
    // In one piece, because the test runner writes meanwhile.
    let line = format!("skipped: {test}: {reason}\n");
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Whether namespaces and captures can be made. Says why not.
pub fn is_root() -> bool {
    let root = sys::is_root();
    if !root {
        skip("needs root");
    }
    root
}

/// What `tcpclose doctor` says here.
fn doctor() -> &'static Ended {
    static DOCTOR: OnceLock<Ended> = OnceLock::new();
    DOCTOR.get_or_init(|| process::run(program::command().arg("doctor")))
}

/// Whether function hooks tell of minisockets here, as the program says.
pub fn has_hooks() -> bool {
    let lines = doctor().stdout.lines();
    let mut found = lines.filter(|line| line.contains(" TIME_WAIT hooks "));
    let line = found.next().expect("doctor tells of the hooks");
    line.trim_start().starts_with("yes ")
}

/// Whether the program can trace here. Says why not.
pub fn can_trace() -> bool {
    let said = || {
        let stderr = doctor().stderr.lines().next();
        format!("tcpclose doctor: {}", stderr.unwrap_or("no reason given"))
    };
    let missing = if !sys::is_root() {
        Some("tracing needs root".to_owned())
    } else {
        (doctor().code != Some(0)).then(said)
    };
    if let Some(reason) = &missing {
        skip(reason);
    }
    missing.is_none()
}

/// Whether these programs of others are installed. Says which is not.
pub fn has_programs(names: &[&str]) -> bool {
    let missing = names.iter().find(|name| find_program(name).is_none());
    if let Some(name) = missing {
        skip(&format!("{name} is not installed"));
    }
    missing.is_none()
}

/// Where a program is, also outside a user's PATH.
fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Where an installed program is; see [`has_programs`].
pub fn program_path(name: &str) -> PathBuf {
    find_program(name).unwrap_or_else(|| panic!("{name} was there"))
}
