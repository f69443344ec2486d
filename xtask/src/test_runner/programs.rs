//! The test programs: built with one selection of packages, so that nothing is compiled twice, and
//! run here.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use cargo_metadata::Message;

use super::{ci, counts::Counts, output::TestOutput};
use crate::{
    command::{announce, exit_code, run_to, stream_lines},
    ebpf::EbpfObject,
    privilege::Privilege,
    workspace::Workspace,
};

/// Makes a missing precondition a failure of the test, not a skip.
pub const REQUIRE_VARIABLE: &str = "TCPCLOSE_TEST_REQUIRE";

/// A test program that cargo has built.
pub struct TestProgram {
    /// The package it belongs to.
    pub package: String,
    /// The target's name.
    pub target: String,
    /// Where it is.
    pub path: PathBuf,
    /// Where it expects to run.
    directory: PathBuf,
    /// What its environment has beside ours.
    variables: Vec<(&'static str, OsString)>,
}

/// Builds the test programs that `select` has cargo build, of all packages: cargo chooses the
/// features of what they share by the packages that it builds, so that fewer packages would mean to
/// compile all those crates again.
pub fn build(
    workspace: &Workspace,
    object: &EbpfObject,
    select: impl IntoIterator<Item = OsString>,
) -> Result<Vec<TestProgram>> {
    let mut command = cargo(workspace, object);
    command.arg("test");
    build_with(workspace, command, select)
}

/// Builds test programs with `cargo test` as it is given.
pub fn build_with(
    workspace: &Workspace,
    mut command: Command,
    select: impl IntoIterator<Item = OsString>,
) -> Result<Vec<TestProgram>> {
    command
        .args(["--no-run", "--message-format=json-render-diagnostics"])
        .args(select);
    let messages = run_to(&mut command, "compiling the tests")?;
    let mut programs = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        let Message::CompilerArtifact(artifact) =
            message.context("cannot read cargo's messages")?
        else {
            continue;
        };
        let Some(path) = artifact.executable.filter(|_| artifact.profile.test) else {
            continue;
        };
        let package = workspace.package(&artifact.package_id)?;
        programs.push(TestProgram {
            package: package.name.to_string(),
            target: artifact.target.name,
            path: path.into_std_path_buf(),
            directory: package.manifest_path.as_std_path().with_file_name(""),
            variables: Vec::new(),
        });
    }
    Ok(programs)
}

/// cargo for the host's crates: the same object for each step, or each would compile tcpclose
/// again.
pub fn cargo(workspace: &Workspace, object: &EbpfObject) -> Command {
    let mut command = workspace.cargo();
    object.hand_to(&mut command);
    command
}

impl TestProgram {
    /// Has it started with a variable in its environment.
    pub fn set_variable(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    /// Returns a command that starts it as cargo would, as root where `privilege` is there to
    /// become root.
    pub fn command(&self, privilege: Option<Privilege>) -> Command {
        let mut command = match privilege {
            Some(Privilege::Sudo | Privilege::SudoAsks) => {
                let mut sudo = Command::new("sudo");
                sudo.args(["-E", "--"]).arg(&self.path);
                sudo
            }
            Some(Privilege::Root | Privilege::None) | None => Command::new(&self.path),
        };
        command
            .current_dir(&self.directory)
            .env("CARGO_MANIFEST_DIR", &self.directory)
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        if ci::is_ci() {
            command.env(REQUIRE_VARIABLE, "1");
        }
        command
    }

    /// Runs all its tests, or those that `args` select, and shows what they write. Tests of a real
    /// kernel, which need root, may fail once by accident: a few that failed are run once more, and
    /// count as flaky if they pass then.
    pub fn run(&self, privilege: Option<Privilege>, args: &[OsString]) -> Result<Counts> {
        announce(format_args!("{}: {}", self.package, self.target));
        let mut output = observe(self.command(privilege).args(args))?;
        if privilege.is_some() && output.output.may_be_repeated() {
            let failed = output.output.failed.clone();
            announce(format_args!("once more: {}", failed.join(", ")));
            let mut command = self.command(privilege);
            command.args(["--include-ignored", "--exact"]).args(failed);
            let repeated = observe(&mut command)?;
            output.output.add_repetition(&repeated.output);
            output.code = repeated.code;
        }
        if output.code != 0 {
            let Self {
                package, target, ..
            } = self;
            announce(format_args!(
                "{package}: {target} ended with code {}",
                output.code
            ));
        }
        Ok(output.counts_with_code())
    }

    /// Returns the names of its tests, or of those that `args` select, without ignored ones.
    pub fn list(&self, args: &[OsString]) -> Result<Vec<String>> {
        let ignored = self.list_with(&["--ignored"], args)?;
        let mut names = self.list_with(&[], args)?;
        names.retain(|name| !ignored.contains(name));
        Ok(names)
    }

    fn list_with(&self, options: &[&str], args: &[OsString]) -> Result<Vec<String>> {
        let mut list = self.command(None);
        list.args(["--list", "--format=terse"]);
        list.args(options).args(args);
        let names = run_to(&mut list, "listing the tests")?;
        let names = names.lines().filter_map(|line| line.strip_suffix(": test"));
        Ok(names.map(str::to_owned).collect())
    }
}

/// Output and exit code of a test program.
pub struct Observed {
    output: TestOutput,
    /// Its exit code, as a shell has it.
    pub code: u8,
}

impl Observed {
    /// All that was written.
    pub fn text(&self) -> &str {
        &self.output.text
    }

    /// Why tests skipped themselves.
    pub fn skipped(&self) -> impl Iterator<Item = &str> {
        self.output.skipped.keys().map(String::as_str)
    }

    /// As [`Self::counts`], with one failure where the command failed though no test did.
    pub fn counts_with_code(&self) -> Counts {
        let mut counts = self.counts();
        if self.code != 0 && counts.failed == 0 {
            counts.failed = 1;
        }
        counts
    }

    /// The number of tests by their result.
    pub fn counts(&self) -> Counts {
        self.output.counts()
    }
}

/// Runs `command`, shows both its outputs on ours, and reads them.
pub fn observe(command: &mut Command) -> Result<Observed> {
    let stdout = io::stdout();
    observe_with(command, |line| writeln!(stdout.lock(), "{line}"))
}

/// Runs `command`, hands each line of both its outputs to `show`, and reads them.
pub fn observe_with(
    command: &mut Command,
    mut show: impl FnMut(&str) -> io::Result<()>,
) -> Result<Observed> {
    let mut output = TestOutput::default();
    let status = stream_lines(command.stdin(Stdio::null()), |line| {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n');
        output.read(text);
        show(text).context("cannot write the tests' output")
    })?;
    Ok(Observed {
        output,
        code: exit_code(status),
    })
}

/// How test programs become root; `None` where they need not, or cannot.
pub fn privilege_for_tests() -> Option<Privilege> {
    let privilege = Privilege::detect();
    if !privilege.can_start_programs() {
        announce("the tests that need root skip themselves: there is no sudo for it");
        return None;
    }
    Some(privilege)
}
