//! What a task needs of this host: programs, files and Rust targets, installed where they are
//! missing.

use std::{env, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    command::{announce, find_program, stdout_of, succeeds},
    privilege::Privilege,
    workspace::Workspace,
};

/// Has these programs here, from Debian's packages where they are missing.
pub fn need(programs: &[&str], packages: &[&str]) -> Result<()> {
    need_all(programs, packages, |program| {
        find_program(program).is_some()
    })
}

/// Has these files here, from Debian's packages where they are missing.
pub fn need_files(files: &[&str], packages: &[&str]) -> Result<()> {
    need_all(files, packages, |file| Path::new(file).exists())
}

/// As [`need`], for what `is_here` looks for.
pub fn need_all(names: &[&str], packages: &[&str], is_here: impl Fn(&str) -> bool) -> Result<()> {
    let missing = || -> Vec<_> {
        let names = names.iter().copied();
        names.filter(|name| !is_here(name)).collect()
    };
    if missing().is_empty() {
        return Ok(());
    }
    let installed = Apt::find(Privilege::detect())
        .map_err(anyhow::Error::msg)
        .and_then(|apt| apt.install(packages));
    let missing = missing().join(", ");
    if missing.is_empty() {
        return Ok(());
    }
    let reason = match installed {
        Err(error) => format!("{error:#}"),
        Ok(()) => "the packages do not have it".to_owned(),
    };
    bail!(
        "{missing} is needed and could not be installed: {reason}; install it (Debian's \
         packages: {})",
        packages.join(" ")
    )
}

/// Has Rust's standard library for a target here, from rustup where it is missing.
pub fn need_target(workspace: &Workspace, target: &str) -> Result<()> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let has_target = || {
        let mut libraries = Command::new(&rustc);
        libraries
            .args(["--print", "target-libdir", "--target", target])
            .current_dir(&workspace.root);
        stdout_of(&mut libraries).is_ok_and(|libraries| Path::new(libraries.trim()).is_dir())
    };
    if has_target() {
        return Ok(());
    }
    announce(format_args!("rustup: adding the target {target}"));
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add", target])
        .current_dir(&workspace.root);
    if succeeds(&mut rustup) && has_target() {
        return Ok(());
    }
    bail!(
        "there is no Rust standard library for {target}; run `rustup target add {target}`, or \
         install your distribution's package of it"
    )
}
