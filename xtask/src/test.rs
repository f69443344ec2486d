//! All the tests, from formatting to the running kernel.

use std::{
    env,
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    bench::Check,
    command::{self, Failed, announce, run},
    compile::{self, Ebpf, OBJECT_VARIABLE},
    debian_compiler::CLIPPY_PACKAGE,
    ebpf_compiler::{Core, RustcVersion},
    privilege::Privilege,
    test_deps, vm,
    workspace::Workspace,
};

/// The test target that traces the running kernel, as root.
const INTEGRATION: &str = "integration";
/// The other test targets that need root.
const NEED_ROOT: &[&str] = &["agent", "leaks", "sinks", "sock_diag"];
/// Makes a missing precondition a failure of the test, not a skip.
pub const REQUIRE_VARIABLE: &str = "TCPCLOSE_TEST_REQUIRE";

/// Runs everything. The integration tests come last, so that the output ends with their totals.
pub fn test(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    all(workspace, args).or_else(|error| {
        // The exit code of what failed is ours.
        let failed = error.downcast::<Failed>()?;
        announce(&failed);
        Ok(ExitCode::from(failed.code))
    })
}

fn all(workspace: &Workspace, args: &[OsString]) -> Result<ExitCode> {
    let object = checks(workspace)?;
    let other_kernels_are_good = match &object {
        Some(object) => vm::test(workspace, object, &vm_arguments(args), in_ci())?,
        None => true,
    };
    if !other_kernels_are_good {
        announce("other kernels: tests have failed, and so has this run, whatever follows");
    }
    let is_fast = is_fast(workspace, object.is_some())?;
    if !is_fast {
        announce(
            "bench: something has become slower or bigger, so this run has failed, whatever follows",
        );
    }
    let code = kernel_tests(workspace, object.as_ref(), args)?;
    if code == ExitCode::SUCCESS && !(other_kernels_are_good && is_fast) {
        return Ok(ExitCode::FAILURE);
    }
    Ok(code)
}

/// The bench's short form.
fn is_fast(workspace: &Workspace, has_object: bool) -> Result<bool> {
    announce("bench: comparing with the kept numbers");
    let program = match has_object {
        true => Some(compile::build(workspace)?),
        false => None,
    };
    let check = Check {
        workspace,
        program: program.as_deref(),
        required: in_ci(),
    };
    check.compare()
}

/// All that needs no root. Returns the eBPF object, if there is one.
fn checks(workspace: &Workspace) -> Result<Option<PathBuf>> {
    let required = in_ci();
    announce("formatting: cargo fmt --all --check");
    run(
        workspace.cargo().args(["fmt", "--all", "--check"]),
        "`cargo fmt --all --check` (`cargo fmt --all` puts it right)",
    )?;
    test_deps::provide(Privilege::detect(), required)?;

    let object = match Ebpf::prepare(workspace) {
        Ok(ebpf) => {
            let object = ebpf.compile(workspace)?;
            lint_ebpf(workspace, &ebpf, required)?;
            Some(object)
        }
        Err(error) if required || error.is::<Failed>() => return Err(error),
        Err(error) => {
            announce(format_args!(
                "eBPF programs: skipping them and the tests that load them: {error:#}"
            ));
            None
        }
    };

    announce("lints: cargo clippy --all-targets, warnings denied");
    run(
        cargo(workspace, object.as_ref()).args([
            "clippy",
            "--all-targets",
            "--",
            "--deny",
            "warnings",
        ]),
        "`cargo clippy`",
    )?;
    announce("lints: cargo clippy without the optional features");
    run(
        cargo(workspace, object.as_ref())
            .args(["clippy", "--package", "tcpclose", "--no-default-features"])
            .args(["--lib", "--bins", "--", "--deny", "warnings"]),
        "`cargo clippy --no-default-features`",
    )?;
    announce("unit and property tests");
    run(
        cargo(workspace, object.as_ref())
            .args(["test", "--lib", "--bins"])
            .args(without_root(&workspace.test_targets)),
        "`cargo test`",
    )?;
    announce("documentation tests");
    run(
        cargo(workspace, object.as_ref()).args(["test", "--doc"]),
        "`cargo test --doc`",
    )?;
    Ok(object)
}

fn lint_ebpf(workspace: &Workspace, ebpf: &Ebpf, required: bool) -> Result<()> {
    announce("lints: clippy for the eBPF programs, warnings denied");
    if ebpf.lint(workspace)? {
        return Ok(());
    }
    // A nightly brings its own; Debian's is another package.
    let reason = if ebpf.compiler().core == Core::Prebuilt {
        let installed = Apt::find(Privilege::detect())
            .map_err(anyhow::Error::msg)
            .and_then(|apt| apt.install(&[CLIPPY_PACKAGE]));
        match installed {
            Ok(()) if Ebpf::prepare(workspace)?.lint(workspace)? => return Ok(()),
            Ok(()) => format!("{CLIPPY_PACKAGE} does not fit the compiler"),
            Err(error) => format!("{error:#}"),
        }
    } else {
        "run `rustup component add clippy` for that toolchain".to_owned()
    };
    if required {
        bail!("the eBPF programs' compiler has no clippy: {reason}");
    }
    announce(format_args!(
        "lints: skipping the eBPF programs, their compiler has no clippy: {reason}"
    ));
    Ok(())
}

/// Built as this user; only the test programs themselves are started as root.
fn kernel_tests(
    workspace: &Workspace,
    object: Option<&PathBuf>,
    args: &[OsString],
) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    let mut runner = None;
    let how = if privilege == Privilege::Root {
        ""
    } else if privilege.can_start_programs() {
        runner = as_root(privilege)?;
        ", with sudo"
    } else {
        ", skipping those that need root: there is no sudo for it"
    };
    let start = |target: &str| {
        announce(format_args!("kernel tests: {target}{how}"));
        let mut command = cargo(workspace, object);
        command.args(["test", "--test", target]);
        command.envs(runner.clone());
        if in_ci() {
            command.env(REQUIRE_VARIABLE, "1");
        }
        command
    };
    for target in NEED_ROOT {
        if workspace.test_targets.iter().any(|known| known == target) {
            run(&mut start(target), &format!("`cargo test --test {target}`"))?;
        }
    }
    // One after another: a process that a test beside it forks holds copies of all sockets until it executes its
    // program, so a close() would not be the last one, and the kernel would rightly name another closer.
    // Nothing is said after it, however it ends: cargo has said it.
    let status = command::status(
        start(INTEGRATION)
            .args(["--", "--test-threads=1"])
            .args(args),
    )?;
    Ok(ExitCode::from(command::exit_code(status)))
}

/// What the other kernels are spared in a run of all tests, where they get the scenarios whose outcome a kernel decides,
/// in IPv4, about a minute each under emulation. `cargo xtask vm-test` runs everything.
const SPARED: &[&str] = &[
    "::ipv6",
    "::v4_mapped",
    "attached_late::",
    "bursts::",
    "closed_window::",
    "crossing::",
    "disconnected::",
    "filters::",
    "fin_with_data::",
    "half_reset::",
    "hostile_names::",
    "owners::",
    "port_reuse::",
    "recordings::",
    "stopping::",
    "environment::",
    "timeouts::",
    "transitions::",
    "usage::",
];

fn vm_arguments(args: &[OsString]) -> Vec<OsString> {
    if args.is_empty() {
        let skips = SPARED.iter().flat_map(|spared| ["--skip", spared]);
        skips.map(OsString::from).collect()
    } else {
        args.to_vec()
    }
}

/// cargo for the host's crates: the same object for each step, or each would compile tcpclose again.
fn cargo(workspace: &Workspace, object: Option<&PathBuf>) -> Command {
    let mut command = workspace.cargo();
    match object {
        Some(object) => command.env(OBJECT_VARIABLE, object),
        None => command.env_remove(OBJECT_VARIABLE),
    };
    command
}

/// Arguments that select all test targets except those that need root.
fn without_root(test_targets: &[String]) -> impl Iterator<Item = &str> {
    let targets = test_targets.iter().map(String::as_str);
    targets
        .filter(|target| *target != INTEGRATION && !NEED_ROOT.contains(target))
        .flat_map(|target| ["--test", target])
}

/// The variable that has cargo start test programs as root, where it must be told.
pub fn as_root(privilege: Privilege) -> Result<Option<(String, &'static str)>> {
    Ok(match privilege {
        Privilege::Root => None,
        Privilege::Sudo | Privilege::SudoAsks | Privilege::None => {
            Some((runner_variable(&host()?), "sudo -E --"))
        }
    })
}

fn host() -> Result<String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    Ok(RustcVersion::of(rustc.as_ref())?.host)
}

/// cargo's variable for the program that starts a target's binaries.
fn runner_variable(host: &str) -> String {
    format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    )
}

fn in_ci() -> bool {
    env::var("CI").is_ok_and(|ci| is_true(&ci))
}

fn is_true(value: &str) -> bool {
    !matches!(value.trim(), "" | "0" | "false" | "False" | "FALSE")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tests_are_not_among_those_without_root() {
        let targets = ["integration", "properties", "sock_diag"].map(str::to_owned);
        let args: Vec<_> = without_root(&targets).collect();
        assert_eq!(args, ["--test", "properties"]);
    }

    #[test]
    fn names_cargos_runner_variable() {
        assert_eq!(
            runner_variable("x86_64-unknown-linux-gnu"),
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER"
        );
    }

    #[test]
    fn ci_is_what_says_so() {
        assert!(is_true("true"));
        assert!(is_true("1"));
        assert!(!is_true("false"));
        assert!(!is_true(""));
    }
}
