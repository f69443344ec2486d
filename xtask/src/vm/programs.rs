//! The programs for the test machines. Those of this host's architecture are the same that are
//! tested on this host, with the libraries that they load; those of another hold all that they
//! need.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{selection::Selection, series::Run};
use crate::{
    arch::Arch,
    command::{announce, stdout_of},
    compile,
    ebpf::EbpfObject,
    package, static_target,
    test_runner::{self, TestProgram},
    workspace::Workspace,
};

/// What tests read of the checkout, below its root.
const DATA: &[&str] = &["tracer/tests/data/golden/closes.rec"];

/// The programs that run on a test machine.
pub struct Programs {
    /// The program as users have it, or what was compiled with the tests.
    pub tcpclose: PathBuf,
    /// Test programs by name.
    pub tests: Vec<(String, Vec<u8>)>,
    /// What else they need, by its path on this host: the libraries that they load, data.
    pub files: BTreeSet<PathBuf>,
}

/// Builds them for an architecture, with the eBPF object inside.
pub fn build(
    workspace: &Workspace,
    object: &EbpfObject,
    arch: Arch,
    selection: &Selection,
) -> Result<Programs> {
    let start = Instant::now();
    announce(format_args!(
        "vm-test: compiling tcpclose and its tests for {}",
        arch.name()
    ));
    let select = selection.targets().iter();
    let select = select.flat_map(|test| ["--test", test]).map(OsString::from);
    let mut files: BTreeSet<_> = DATA.iter().map(|file| workspace.root.join(file)).collect();
    let (tcpclose, programs) = if arch.is_native() {
        compile::build_release(workspace, object)?;
        let tcpclose = compile::program(workspace);
        let programs = test_runner::build(workspace, object, select)?;
        files.extend(libraries_of(&tcpclose)?);
        for program in &programs {
            files.extend(libraries_of(&program.path)?);
        }
        (tcpclose, programs)
    } else {
        let programs = build_static(workspace, object, arch, select)?;
        let tcpclose = match selection.run {
            Run::Usual => static_target::directory(workspace, arch).join("debug/tcpclose"),
            Run::Full => package::program::build(workspace, arch)?,
        };
        (tcpclose, programs)
    };
    let mut tests = Vec::new();
    for program in programs {
        tests.push((program.target, without_debug_info(arch, &program.path)?));
    }
    announce(format_args!(
        "vm-test: the programs for {} took {} s",
        arch.name(),
        start.elapsed().as_secs()
    ));
    Ok(Programs {
        tcpclose,
        tests,
        files,
    })
}

/// The tests, and the program without the optimisations of a release, which take minutes. Nothing
/// is shared with what is compiled for this host, so only the packages with these tests are
/// compiled.
fn build_static(
    workspace: &Workspace,
    object: &EbpfObject,
    arch: Arch,
    select: impl Iterator<Item = OsString>,
) -> Result<Vec<TestProgram>> {
    let mut cargo = test_runner::cargo(workspace, object);
    cargo.arg("test");
    static_target::select(&mut cargo, arch, &[]);
    cargo
        .args(["--package", "tcpclose", "--package", "tcpclose-sys"])
        // Emulation makes slow programs slower.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0");
    test_runner::build_with(workspace, cargo, select)
}

/// Returns the program's bytes without debug information, which is nine tenths of what would be
/// loaded into each machine.
fn without_debug_info(arch: Arch, program: &Path) -> Result<Vec<u8>> {
    let stripped = program.with_extension(format!("stripped-{}", std::process::id()));
    let mut strip = Command::new(arch.strip());
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
