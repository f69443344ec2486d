//! The checks of the source that are no tests: formatting, lints, documentation, dependencies.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    command::{announce, exit_code, status},
    ebpf::{Ebpf, EbpfObject, OBJECT_VARIABLE},
    ebpf_compiler::{CLIPPY_PACKAGE, Core},
    privilege::Privilege,
    registries,
    test_runner::{Counts, cargo, is_ci},
    tool::Tool,
    workspace::Workspace,
};

/// Checks the dependencies. Its own work takes seconds, so it is not worth a release build.
const CARGO_DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
    profile: "dev",
};

/// `cargo fmt --check`.
pub fn format(workspace: &Workspace) -> Result<Counts> {
    let mut cargo = workspace.cargo();
    let counts = check(
        cargo.args(["fmt", "--all", "--check"]),
        "cargo fmt --all --check",
    )?;
    if counts.failed > 0 {
        announce("`cargo fmt --all` formats the files");
    }
    Ok(counts)
}

/// clippy with warnings denied: all targets, the program without its optional features, the eBPF
/// programs.
pub fn lint(workspace: &Workspace, ebpf: Option<&Ebpf>, object: &EbpfObject) -> Result<Counts> {
    let mut all = cargo(workspace, object);
    all.args(["clippy", "--all-targets", "--", "--deny", "warnings"]);
    let mut counts = check(&mut all, "cargo clippy --all-targets")?;
    let mut without_features = cargo(workspace, object);
    without_features
        .args(["clippy", "--package", "tcpclose", "--no-default-features"])
        .args(["--lib", "--bins", "--", "--deny", "warnings"]);
    counts += check(&mut without_features, "cargo clippy --no-default-features")?;
    counts += match ebpf {
        Some(ebpf) => lint_ebpf(workspace, ebpf)?,
        None => Counts::skipped_check(),
    };
    Ok(counts)
}

fn lint_ebpf(workspace: &Workspace, ebpf: &Ebpf) -> Result<Counts> {
    announce("clippy for the eBPF programs");
    if let Some(is_good) = ebpf.lint(workspace)? {
        return Ok(Counts::from_check(is_good));
    }
    // A nightly brings its own; Debian's is another package.
    let reason = if ebpf.compiler().core == Core::Prebuilt {
        let installed = Apt::find(Privilege::detect())
            .map_err(anyhow::Error::msg)
            .and_then(|apt| apt.install(&[CLIPPY_PACKAGE]));
        match installed {
            Ok(()) => {
                if let Some(is_good) = Ebpf::prepare(workspace)?.lint(workspace)? {
                    return Ok(Counts::from_check(is_good));
                }
                format!("{CLIPPY_PACKAGE} does not fit the compiler")
            }
            Err(error) => format!("{error:#}"),
        }
    } else {
        "run `rustup component add clippy` for that toolchain".to_owned()
    };
    if is_ci() {
        bail!("the eBPF programs' compiler has no clippy: {reason}");
    }
    announce(format_args!(
        "skipping the lints of the eBPF programs: their compiler has no clippy: {reason}"
    ));
    Ok(Counts::skipped_check())
}

/// rustdoc for all items, private ones too, with warnings denied.
pub fn document(workspace: &Workspace, object: &EbpfObject) -> Result<Counts> {
    let mut cargo = cargo(workspace, object);
    cargo
        .args(["doc", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "--deny warnings");
    check(&mut cargo, "cargo doc --no-deps --document-private-items")
}

/// `cargo package` for the crates that are published: each compiles from what is in its package
/// alone, with the kept eBPF object.
pub fn package(workspace: &Workspace) -> Result<Counts> {
    let mut cargo = workspace.cargo();
    cargo
        // All that they need has been fetched to compile them.
        .args(["package", "--offline", "--locked", "--allow-dirty", "--quiet"])
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env_remove(OBJECT_VARIABLE);
    for name in workspace.published() {
        registries::forget_local(name)?;
        cargo.args(["--package", name]);
    }
    check(&mut cargo, "cargo package")
}

/// Licences, duplicates and sources of the dependencies, by deny.toml. Advisories need the network
/// at every run.
pub fn deny(workspace: &Workspace) -> Result<Counts> {
    let program = match CARGO_DENY.find_or_install(workspace) {
        Ok(program) => program,
        Err(error) if is_ci() => return Err(error),
        Err(error) => {
            announce(format_args!("skipping the dependencies' checks: {error:#}"));
            return Ok(Counts::skipped_check());
        }
    };
    let mut deny = Command::new(program);
    deny.args(["--locked", "check", "--hide-inclusion-graph"])
        .args(["bans", "licenses", "sources"])
        .current_dir(&workspace.root);
    check(&mut deny, "cargo deny check bans licenses sources")
}

/// Runs a command that is a check. Its messages are shown.
fn check(command: &mut Command, what: &str) -> Result<Counts> {
    announce(what);
    let code = exit_code(status(command)?);
    if code != 0 {
        announce(format_args!("`{what}` failed; its messages are above"));
    }
    Ok(Counts::from_check(code == 0))
}
