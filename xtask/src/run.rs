//! Builds tcpclose and runs it in place of xtask.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};

use crate::{command::announce, compile, privilege::Privilege, workspace::Workspace};

/// Environment variables that sudo passes on if the user has set them.
const PASSED_VARIABLES: [&str; 2] = ["NO_COLOR", "RUST_LOG"];

/// Builds as this user, then runs `tcpclose ARGS` as root. Returns only if it could not be started:
/// its exit code and the signals are its own.
pub fn build_and_run(workspace: &Workspace, args: Vec<OsString>) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    // Before the minutes of a first build.
    if privilege == Privilege::None {
        bail!(
            "tcpclose needs root to load its eBPF programs, and there is no sudo here: install sudo, or run this as root"
        );
    }
    let program = compile::build(workspace)?;
    let args = if args.is_empty() {
        vec!["watch".into()]
    } else {
        args
    };
    let set = PASSED_VARIABLES
        .into_iter()
        .filter(|name| env::var_os(name).is_some());
    let mut command = as_root(privilege, &program, &set.collect::<Vec<_>>());
    command.args(&args);
    announce(format_args!(
        "running tcpclose {}{}",
        args.join(OsStr::new(" ")).display(),
        if privilege == Privilege::Root {
            ""
        } else {
            ", with sudo"
        }
    ));
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}

fn as_root(privilege: Privilege, program: &Path, passed: &[&str]) -> Command {
    if privilege == Privilege::Root {
        return Command::new(program);
    }
    let mut command = Command::new("sudo");
    if !passed.is_empty() {
        command.arg(format!("--preserve-env={}", passed.join(",")));
    }
    command.arg("--").arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_is_started_with_sudo() {
        let program = Path::new("/x/tcpclose");
        let root = as_root(Privilege::Root, program, &["NO_COLOR"]);
        assert_eq!(
            (root.get_program(), root.get_args().count()),
            (program.as_os_str(), 0)
        );
        let user = as_root(Privilege::SudoAsks, program, &["NO_COLOR"]);
        assert_eq!(user.get_program(), "sudo");
        let args: Vec<_> = user.get_args().collect();
        assert_eq!(args, ["--preserve-env=NO_COLOR", "--", "/x/tcpclose"]);
    }
}
