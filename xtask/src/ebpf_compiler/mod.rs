//! The compiler for the eBPF programs: found, or installed.
//!
//! Two are known to work: Debian's, which brings a compiled `core` for the kernel's target, and a nightly from rustup,
//! which compiles `core` from its source.

mod compiler;
mod debian;
mod rustup;

use anyhow::{Result, bail};

pub use self::compiler::{Core, EbpfCompiler, TARGET};
pub use self::debian::CLIPPY_PACKAGE;
use crate::{apt::Apt, command::announce, privilege::Privilege, workspace::Workspace};

/// Finds a compiler, or installs one.
pub fn find_or_install(workspace: &Workspace) -> Result<EbpfCompiler> {
    if let Some(compiler) = find(workspace) {
        return Ok(compiler);
    }
    announce("eBPF compiler: none here yet");
    let mut reasons = Vec::new();
    let installed = Apt::find(Privilege::detect())
        .map_err(anyhow::Error::msg)
        .and_then(|apt| debian::install(&apt));
    if let Err(error) = installed {
        announce(format_args!("eBPF compiler: not Debian's: {error:#}"));
        reasons.push(format!("not from Debian ({error:#})"));
    } else if let Some(compiler) = find(workspace) {
        return Ok(compiler);
    }
    if let Err(error) = rustup::install(workspace) {
        announce(format_args!("eBPF compiler: not rustup's: {error:#}"));
        reasons.push(format!("not from rustup ({error:#})"));
    } else if let Some(compiler) = find(workspace) {
        return Ok(compiler);
    }
    bail!(
        "no compiler for eBPF could be installed: {}; install rustup (https://rustup.rs), or as root on Debian run \
         `apt-get install {}`",
        reasons.join(", "),
        debian::PACKAGES.join(" ")
    )
}

/// Finds a compiler that is installed already.
fn find(workspace: &Workspace) -> Option<EbpfCompiler> {
    let compiler = debian::find().or_else(|| rustup::find(workspace))?;
    announce(format_args!("eBPF compiler: {compiler}"));
    Some(compiler)
}
