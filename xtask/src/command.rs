//! Starting other programs, with a line on stderr about each.

use std::{
    env,
    ffi::OsStr,
    fmt,
    io::{self, BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use anyhow::{Context as _, Result, bail};

/// Writes a line about the next step to stderr.
pub fn announce(line: impl fmt::Display) {
    eprintln!("xtask: {line}");
}

/// A program that ran and failed, and wrote the reason to stderr itself.
#[derive(Debug)]
pub struct Failed {
    what: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed; its messages are above", self.what)
    }
}

impl std::error::Error for Failed {}

/// Runs `command` on this terminal. `what` is the noun for a failure: "compiling the eBPF
/// programs".
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    if status(command)?.success() {
        return Ok(());
    }
    let what = what.to_owned();
    Err(Failed { what }.into())
}

/// Runs `command` on this terminal and returns how it ended.
pub fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| cannot_start(command))
}

/// Runs `command`, whose messages go to this terminal, and returns its stdout. `what` is the noun
/// for a failure.
pub fn run_to(command: &mut Command, what: &str) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| cannot_start(command))?;
    if !output.status.success() {
        let what = what.to_owned();
        return Err(Failed { what }.into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` and returns its stdout. What it wrote to stderr is part of the error when it
/// fails.
pub fn stdout_of(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| cannot_start(command))?;
    if !output.status.success() {
        bail!(
            "`{}` failed: {}",
            shown(command),
            last_message(&String::from_utf8_lossy(&output.stderr))
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command`, hands each line of both its outputs to `on_line`, with its newline, and returns
/// how it ended.
pub fn stream_lines(
    command: &mut Command,
    mut on_line: impl FnMut(&[u8]) -> Result<()>,
) -> Result<ExitStatus> {
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    command
        .stdout(writer.try_clone().context("cannot make a pipe")?)
        .stderr(writer);
    let mut child = command.spawn().with_context(|| cannot_start(command))?;
    // The command has the pipe's writing end open: with it gone, the pipe ends with the program.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (mut reader, mut line) = (BufReader::new(reader), Vec::new());
    while reader
        .read_until(b'\n', &mut line)
        .context("cannot read the output of a program")?
        > 0
    {
        on_line(&line)?;
        line.clear();
    }
    child.wait().context("cannot wait for a program")
}

/// Returns whether `command` can be started and succeeds; nothing of it is shown.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The exit code a shell would give: a signal's number plus 128 for a killed program.
pub fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;

    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal + 128));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

/// Returns where the program `name` is: on PATH, or in the directories that only root has there.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let for_root = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    let directories = env::split_paths(&path).chain(for_root);
    which::which_in(name, env::join_paths(directories).ok(), "/").ok()
}

/// The last line with text: package managers and rustup put the reason there.
fn last_message(stderr: &str) -> String {
    let mut lines = stderr.lines().rev().map(str::trim);
    let line = lines.find(|line| !line.is_empty());
    line.unwrap_or("no reason given").to_owned()
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().display())
}

fn shown(command: &Command) -> String {
    let arguments = command.get_args().map(OsStr::to_string_lossy);
    let program = command.get_program().to_string_lossy();
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_program_is_distinguished_from_a_missing_one() {
        let error = run(Command::new("sh").args(["-c", "exit 7"]), "leaving").unwrap_err();
        assert!(error.is::<Failed>());
        let error = run(&mut Command::new("/nowhere/at-all"), "leaving").unwrap_err();
        assert!(!error.is::<Failed>());
        let error = run_to(Command::new("sh").args(["-c", "exit 7"]), "leaving").unwrap_err();
        assert_eq!(error.to_string(), "leaving failed; its messages are above");
    }

    #[test]
    fn a_killed_program_ends_as_in_a_shell() {
        let status = status(Command::new("sh").args(["-c", "kill -TERM $$"])).unwrap();
        assert_eq!(exit_code(status), 128 + 15);
    }

    #[test]
    fn the_reason_is_the_last_line_with_a_message() {
        assert_eq!(
            last_message("a\nE: no such package\n\n"),
            "E: no such package"
        );
        assert_eq!(last_message(""), "no reason given");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = status(&mut Command::new("/nowhere/at-all")).unwrap_err();
        assert!(error.to_string().contains("/nowhere/at-all"));
        assert!(find_program("no-program-has-this-name").is_none());
    }
}
