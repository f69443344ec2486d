//! The program, compiled as users have it.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use crate::{
    command::{announce, run},
    ebpf::EbpfObject,
    workspace::Workspace,
};

/// Builds the program and returns its path.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    build_with(workspace, &EbpfObject::provide(workspace)?)
}

/// Builds the program with eBPF programs that are compiled from their sources in any case, and
/// returns its path.
pub fn build_from_source(workspace: &Workspace) -> Result<PathBuf> {
    build_with(workspace, &EbpfObject::compile(workspace)?)
}

fn build_with(workspace: &Workspace, object: &EbpfObject) -> Result<PathBuf> {
    announce("tcpclose: compiling the program");
    build_release(workspace, object)?;
    let program = program(workspace);
    announce(format_args!("tcpclose is {}", program.display()));
    Ok(program)
}

/// Builds the program with this eBPF object; see [`program`].
pub fn build_release(workspace: &Workspace, object: &EbpfObject) -> Result<()> {
    run(
        release(workspace, object).args(["--package", "tcpclose"]),
        "compiling tcpclose",
    )
}

/// Builds the program, and the benches of the core with the same optimisation.
pub fn build_with_benches(workspace: &Workspace, object: &EbpfObject) -> Result<()> {
    run(
        release(workspace, object)
            .args(["--package", "tcpclose", "--package", "tcpclose-bench"])
            .args(["--bins", "--quiet"]),
        "compiling tcpclose and its benches",
    )
}

fn release(workspace: &Workspace, object: &EbpfObject) -> Command {
    let mut cargo = workspace.cargo();
    object.hand_to(cargo.args(["build", "--release"]));
    cargo
}

/// Returns the path of the program. It is there once it has been built.
pub fn program(workspace: &Workspace) -> PathBuf {
    workspace.target.join("release/tcpclose")
}
