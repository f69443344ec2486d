//! Compiling programs that hold all libraries they need, for this host's architecture or another.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{arch::Arch, command::stdout_of, needs, workspace::Workspace};

/// Links the C library, too.
const STATIC: &str = "-Ctarget-feature=+crt-static";
/// Between flags, as cargo wants it.
const SEPARATOR: &str = "\u{1f}";

/// Has the compilers for an architecture here, from Debian's packages and rustup where they are
/// missing.
pub fn provide(workspace: &Workspace, arch: Arch) -> Result<()> {
    let compiler = arch.compiler();
    needs::need(&[compiler.program], compiler.packages)?;
    needs::need_all(
        &["the static C library, libc.a,"],
        compiler.packages,
        |_| has_static_library(compiler.program),
    )?;
    needs::need_target(workspace, arch.target())
}

/// Returns whether a compiler has a C library that becomes part of programs: some distributions
/// have a package of its own for it.
fn has_static_library(compiler: &str) -> bool {
    // The answer is the mere name of a file that it does not find.
    stdout_of(Command::new(compiler).arg("-print-file-name=libc.a"))
        .is_ok_and(|file| Path::new(file.trim()).is_absolute())
}

/// Has `cargo` compile for an architecture, with more flags for rustc.
pub fn select(cargo: &mut Command, arch: Arch, flags: &[String]) {
    let target = arch.target();
    let mut all = vec![STATIC];
    all.extend(flags.iter().map(String::as_str));
    cargo
        .args(["--target", target])
        .env("CARGO_ENCODED_RUSTFLAGS", all.join(SEPARATOR))
        .env_remove("RUSTFLAGS");
    // Not for this host's own: the setting would be one for build scripts as well, and compile
    // those anew.
    if !arch.is_native() {
        let compiler = arch.compiler().program;
        let upper = target.to_uppercase().replace('-', "_");
        cargo.env(format!("CARGO_TARGET_{upper}_LINKER"), compiler);
        // ring has C and assembly.
        cargo.env(format!("CC_{}", target.replace('-', "_")), compiler);
    }
}

/// Where cargo puts what it compiles for an architecture, each profile in a folder of its own.
pub fn directory(workspace: &Workspace, arch: Arch) -> PathBuf {
    workspace.target.join(arch.target())
}
