//! What a test needs and may not find. A missing piece skips the test and says so; with `TCPCLOSE_TEST_REQUIRE=1`
//! (in CI) it fails it.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::thread;

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

/// Whether the program can trace here. Says why not.
pub fn can_trace() -> bool {
    static MISSING: OnceLock<Option<String>> = OnceLock::new();
    let missing = MISSING.get_or_init(|| {
        if !sys::is_root() {
            return Some("tracing needs root".to_owned());
        }
        let doctor = process::run(program::command().arg("doctor"));
        let said = || {
            format!(
                "tcpclose doctor: {}",
                doctor.stderr.lines().next().unwrap_or("no reason given")
            )
        };
        (doctor.code != Some(0)).then(said)
    });
    if let Some(reason) = missing {
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
