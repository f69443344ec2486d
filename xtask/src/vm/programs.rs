//! The programs for the test machines, which have no libraries: tcpclose and its tests, linked statically.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::{
    command::{announce, run, stdout_of},
    compile::OBJECT_VARIABLE,
    workspace::Workspace,
};

/// The tests that are worth another kernel.
const TESTS: &[&str] = &["integration", "sock_diag"];
/// glibc's target can be linked statically too. Named, because only then are the flags not for build scripts and
/// macros, which must stay dynamic.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What runs on a test machine.
pub struct Programs {
    /// The program as users have it.
    pub tcpclose: PathBuf,
    /// Test programs by name.
    pub tests: Vec<(String, PathBuf)>,
}

/// Builds them, with the eBPF object inside.
pub fn build(workspace: &Workspace, object: &Path) -> Result<Programs> {
    announce("vm-test: compiling tcpclose, statically linked");
    run(
        cargo(workspace, object, "build").args(["--release", "--bin", "tcpclose"]),
        "compiling a static tcpclose",
    )?;
    announce("vm-test: compiling its tests, statically linked");
    let tests = || {
        let mut cargo = cargo(workspace, object, "test");
        cargo.arg("--no-run");
        for test in TESTS {
            cargo.args(["--test", test]);
        }
        cargo
    };
    // First with its progress and its errors for the user, then for the names of what is built now.
    run(&mut tests(), "compiling static tests")?;
    let messages = stdout_of(tests().arg("--message-format=json"))?;
    let tests = TESTS.iter().map(|&name| {
        let program = executable_in(&messages, name);
        let program =
            program.with_context(|| format!("cargo names no program for the test {name}"));
        Ok((name.to_owned(), program?))
    });
    Ok(Programs {
        tcpclose: workspace.target.join(TARGET).join("release/tcpclose"),
        tests: tests.collect::<Result<_>>()?,
    })
}

fn cargo(workspace: &Workspace, object: &Path, task: &str) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args([task, "--quiet", "--package", "tcpclose", "--target", TARGET])
        .env(OBJECT_VARIABLE, object)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        // Half the time to compile, and a tenth of the size to load into each machine.
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    cargo
}

/// The program of the test target `name` in cargo's messages, one JSON object a line.
fn executable_in(messages: &str, name: &str) -> Option<PathBuf> {
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages.filter_map(|message| {
        let is_ours = message["target"]["name"] == name && message["profile"]["test"] == true;
        is_ours.then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    executables.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tests_program_is_found_among_cargos_messages() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"tcpclose"},"profile":{"test":false},"executable":"/t/tcpclose"}
{"reason":"compiler-artifact","target":{"name":"integration"},"profile":{"test":true},"executable":"/t/integration-1"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(
            executable_in(messages, "integration"),
            Some(PathBuf::from("/t/integration-1"))
        );
        assert_eq!(executable_in(messages, "tcpclose"), None);
        assert_eq!(executable_in(messages, "sock_diag"), None);
    }
}
