//! What a test needs and may not find. A missing piece skips the test and reports that; with
//! `TCPCLOSE_TEST_REQUIRE=1` (in CI) it fails it.

use std::sync::OnceLock;

use tcpclose_kit::command::with_tracefs;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::process::{CommandOutput, run};
use tcpclose_kit::skip::skip;

use super::program;

/// What `tcpclose doctor` says here.
fn doctor() -> &'static CommandOutput {
    static DOCTOR: OnceLock<CommandOutput> = OnceLock::new();
    DOCTOR.get_or_init(|| run(program::command().arg("doctor")))
}

/// Returns whether function hooks report minisockets here, as the program says.
pub fn has_hooks() -> bool {
    let lines = doctor().stdout.lines();
    let mut found = lines.filter(|line| line.contains(" TIME_WAIT hooks "));
    let line = found.next().expect("doctor tells of the hooks");
    line.trim_start().starts_with("yes ")
}

/// Returns whether anyone who started the tests says that this kernel has all that its version can
/// have, function hooks among it.
pub fn has_all_but_age() -> bool {
    std::env::var("TCPCLOSE_TEST_HOOKS").is_ok_and(|value| value == "1")
}

/// Returns whether the two endpoints of a connection within this host find each other: sockets have
/// cookies in eBPF programs from 5.12 on.
pub fn finds_peers() -> bool {
    kernel_version() >= (5, 12)
}

/// Returns whether the program can trace here. Says why not.
pub fn can_trace() -> bool {
    let output = || {
        let stderr = doctor().stderr.lines().next();
        format!("tcpclose doctor: {}", stderr.unwrap_or("no reason given"))
    };
    let missing = if !rustix::process::geteuid().is_root() {
        Some("tracing needs root".to_owned())
    } else {
        (doctor().code != Some(0)).then(output)
    };
    if let Some(reason) = &missing {
        skip(reason);
    }
    missing.is_none()
}

/// Returns whether the classic tracepoint can be used here. Reports it if not.
pub fn has_classic_tracepoint() -> bool {
    static FOUND: OnceLock<String> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut doctor = program::command();
        with_tracefs(doctor.arg("doctor"));
        let stdout = run(&mut doctor).stdout;
        let line = |line: &&str| line.contains(" classic tracepoint ");
        let found = stdout.lines().find(line);
        found
            .expect("doctor reports the classic tracepoint")
            .to_owned()
    });
    let can_be_used = found.trim_start().starts_with("yes ");
    if !can_be_used {
        skip(found);
    }
    can_be_used
}
