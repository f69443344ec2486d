//! The programs for the test machines: the same that are tested on this host, with the libraries that they load.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{announce, stdout_of},
    compile, test_runner,
    workspace::Workspace,
};

/// The tests that are worth another kernel.
const TESTS: &[&str] = &["integration", "sock_diag"];

/// The programs that run on a test machine.
pub struct Programs {
    /// The program as users have it.
    pub tcpclose: PathBuf,
    /// Test programs by name.
    pub tests: Vec<(String, Vec<u8>)>,
    /// The libraries that they load, by their paths on this host.
    pub libraries: BTreeSet<PathBuf>,
}

/// Builds them, with the eBPF object inside.
pub fn build(workspace: &Workspace, object: &Path) -> Result<Programs> {
    announce("vm-test: compiling tcpclose and its tests");
    compile::build_release(workspace, object)?;
    let tcpclose = compile::program(workspace);
    let select = TESTS.iter().flat_map(|test| ["--test", test]);
    let programs = test_runner::build(workspace, Some(object), select.map(OsString::from))?;
    let mut libraries = libraries_of(&tcpclose)?;
    let mut tests = Vec::new();
    for program in programs {
        libraries.extend(libraries_of(&program.path)?);
        tests.push((program.target, without_debug_info(&program.path)?));
    }
    Ok(Programs {
        tcpclose,
        tests,
        libraries,
    })
}

/// Returns the program's bytes without debug information, which is nine tenths of what would be loaded into each machine.
fn without_debug_info(program: &Path) -> Result<Vec<u8>> {
    let stripped = program.with_extension(format!("stripped-{}", std::process::id()));
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(&stripped);
    stdout_of(strip.arg(program)).context("binutils' strip is needed")?;
    let bytes =
        fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))?;
    fs::remove_file(&stripped).with_context(|| format!("cannot remove {}", stripped.display()))?;
    Ok(bytes)
}

fn libraries_of(program: &Path) -> Result<BTreeSet<PathBuf>> {
    Ok(libraries_in(&stdout_of(Command::new("ldd").arg(program))?))
}

/// The paths in what `ldd` writes, the loader's among them.
fn libraries_in(text: &str) -> BTreeSet<PathBuf> {
    let paths = text.lines().filter_map(|line| {
        let library = line.trim();
        let library = library.split_once("=> ").map_or(library, |(_, path)| path);
        let (path, _) = library.split_once(" (0x")?;
        path.starts_with('/').then(|| PathBuf::from(path))
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_needs_its_libraries_and_the_loader() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f10)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f11)\n";
        let libraries: Vec<_> = libraries_in(text).into_iter().collect();
        assert_eq!(
            libraries,
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
            .map(PathBuf::from)
        );
    }

    #[test]
    fn a_static_program_needs_none() {
        assert!(libraries_in("\tstatically linked\n").is_empty());
    }
}
