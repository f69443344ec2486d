//! rustup's compiler: a nightly with the source of `core`.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::compiler::{Core, EbpfCompiler, RustcVersion};
use crate::{
    command::{announce, find_program, stdout_of},
    workspace::Workspace,
};

/// Who distributes it.
pub const VENDOR: &str = "rustup's";
/// rustup's own file, which pins the nightly.
const TOOLCHAIN_FILE: &str = include_str!("../../../tracer-ebpf/rust-toolchain.toml");

/// Returns the nightly that the toolchain file pins.
fn pinned() -> Result<&'static str> {
    let channel = |line: &'static str| line.strip_prefix("channel = \"")?.strip_suffix('"');
    let mut lines = TOOLCHAIN_FILE.lines();
    lines
        .find_map(channel)
        .context("tracer-ebpf/rust-toolchain.toml names no channel")
}

/// Our own nightly, or the user's if it will do.
pub fn find(workspace: &Workspace) -> Option<EbpfCompiler> {
    let rustup = find_program("rustup")?;
    let homes = [Some(home(workspace)), None];
    homes.into_iter().find_map(|home| {
        let mut which = Command::new(&rustup);
        which
            .args(["which", "rustc", "--toolchain"])
            .env("RUSTUP_AUTO_INSTALL", "0");
        match home {
            Some(home) if home.exists() => which.arg(pinned().ok()?).env("RUSTUP_HOME", home),
            Some(_) => return None,
            None => which.arg("nightly"),
        };
        compiler_if_usable(Path::new(stdout_of(&mut which).ok()?.trim()))
    })
}

/// Installs the nightly below target/: the user's own toolchains stay as they are.
pub fn install(workspace: &Workspace) -> Result<()> {
    let Some(rustup) = find_program("rustup") else {
        bail!("there is no rustup here");
    };
    let nightly = pinned()?;
    announce(format_args!(
        "rustup: installing {nightly} below {}",
        home(workspace).display()
    ));
    stdout_of(
        Command::new(rustup)
            .args(["toolchain", "install", nightly, "--profile", "minimal"])
            .args(["--component", "rust-src", "--component", "clippy"])
            .arg("--no-self-update")
            .env("RUSTUP_HOME", home(workspace))
            .env_remove("RUSTUP_TOOLCHAIN")
            .stdin(Stdio::null()),
    )?;
    Ok(())
}

fn home(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("rustup")
}

fn compiler_if_usable(rustc: &Path) -> Option<EbpfCompiler> {
    let binaries = rustc.parent()?;
    let source = binaries
        .parent()?
        .join("lib/rustlib/src/rust/library/core/Cargo.toml");
    if !source.exists() {
        return None;
    }
    let version = RustcVersion::query(rustc).ok()?;
    version.has_our_llvm().then(|| EbpfCompiler {
        vendor: VENDOR,
        rustc: rustc.to_owned(),
        cargo: Some(binaries.join("cargo")),
        core: Core::FromSource,
        clippy: Some(binaries.join("cargo-clippy")).filter(|clippy| clippy.exists()),
        version,
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_toolchain_file_pins_a_dated_nightly() {
        let pinned = super::pinned().unwrap();
        let date = pinned.strip_prefix("nightly-").unwrap();
        let numbers: Vec<u32> = date.split('-').map(|part| part.parse().unwrap()).collect();
        assert_eq!(numbers.len(), 3, "{pinned}");
    }
}
