//! What a test needs and may not find. A missing piece skips the test and is reported; with
//! `TCPCLOSE_TEST_REQUIRE=1`, as in CI, it fails the test.

use std::env;
use std::io::Write as _;
use std::path::PathBuf;
use std::thread;

use crate::namespace::enter_new_netns;

/// Reports that the current test is skipped.
///
/// # Panics
/// Where tests are not to be skipped.
#[track_caller]
pub fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    assert!(
        env::var_os("TCPCLOSE_TEST_REQUIRE").is_none_or(|value| value != "1"),
        "required: {reason}"
    );
    // Past the test runner, which keeps what print macros write, and in one piece, because it
    // writes meanwhile.
    let line = format!("skipped: {test}: {reason}\n");
    drop(std::io::stderr().write_all(line.as_bytes()));
}

/// Returns whether network namespaces can be made. Skips the test where they cannot.
#[track_caller]
pub fn is_root() -> bool {
    let is_allowed = thread::spawn(|| enter_new_netns().is_ok())
        .join()
        .unwrap_or(false);
    if !is_allowed {
        skip("needs root");
    }
    is_allowed
}

/// Returns where a program is, also outside a user's PATH. Skips the test where it is not
/// installed.
#[track_caller]
pub fn find_program(name: &str) -> Option<PathBuf> {
    let found = search(name);
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// Returns where an installed program is, as [`has_programs`] has found.
///
/// # Panics
/// It is not installed.
#[must_use]
pub fn program_path(name: &str) -> PathBuf {
    search(name).unwrap_or_else(|| panic!("{name} was there"))
}

/// Returns whether all these programs are installed. Skips the test where one is not.
#[track_caller]
pub fn has_programs(names: &[&str]) -> bool {
    names.iter().all(|name| find_program(name).is_some())
}

/// Where `cargo xtask test` puts programs that no package has.
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/bin");

fn search(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let others = [
        TOOLS,
        "/usr/sbin",
        "/sbin",
        "/usr/bin",
        "/bin",
        "/lib/systemd",
    ];
    env::split_paths(&path)
        .chain(others.map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
