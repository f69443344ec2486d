//! Programs of others that a test runs.

use std::env;
use std::path::PathBuf;
use std::process::{Child, Command, Output};

use crate::sys;

/// Ends with the test.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} starts: {error}")))
    }

    /// Kills it, as a crash or an administrator would.
    pub fn kill(mut self) {
        self.end();
    }

    /// Stops it in its tracks.
    pub fn stand_still(&self) {
        sys::signal(self.0.id(), libc::SIGSTOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        sys::signal(self.0.id(), libc::SIGCONT);
    }

    fn end(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// Runs a program to its end and returns what it printed.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?} starts: {error}"));
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{command:?}: {status}: {said}");
    String::from_utf8(stdout).expect("UTF-8")
}

/// Where a program is; `None` means that the test is skipped, which is said, or a failure where tests are not to be
/// skipped.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(["/usr/sbin".into(), "/lib/systemd".into()]);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    if found.is_none() {
        skip(&format!("{name} is not installed"));
    }
    found
}

/// Says that the test is skipped; with TCPCLOSE_TEST_REQUIRE=1 it fails.
pub fn skip(reason: &str) {
    let required = env::var_os("TCPCLOSE_TEST_REQUIRE").is_some_and(|is| is == "1");
    assert!(!required, "required: {reason}");
    println!("skipped: {reason}");
}
