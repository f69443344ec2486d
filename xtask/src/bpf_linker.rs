//! bpf-linker: turns LLVM bitcode into one eBPF object with BTF.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{command::stdout_of, ebpf_compiler::EbpfCompiler, tool::Tool, workspace::Workspace};

/// The last version that needs no LLVM packages: it loads rustc's own.
const BPF_LINKER: Tool = Tool {
    name: "bpf-linker",
    version: "0.10.4",
    profile: "release",
};

/// The linker, ready to work with one compiler.
#[derive(Debug)]
pub struct BpfLinker {
    /// The program.
    pub program: PathBuf,
    /// For LD_LIBRARY_PATH: a directory with nothing but the compiler's LLVM. The linker takes the
    /// first library called libLLVM… that it finds there, and a system's library directory may hold
    /// several versions.
    pub llvm_directory: PathBuf,
}

/// Returns its name and version.
pub fn identity() -> String {
    format!("{} {}", BPF_LINKER.name, BPF_LINKER.version)
}

/// Finds the linker, or installs it.
pub fn find_or_install(workspace: &Workspace, compiler: &EbpfCompiler) -> Result<BpfLinker> {
    Ok(BpfLinker {
        program: BPF_LINKER.find_or_install(workspace)?,
        llvm_directory: link_llvm(&workspace.tools(), compiler)?,
    })
}

/// Makes the directory for LD_LIBRARY_PATH and returns it.
fn link_llvm(tools: &Path, compiler: &EbpfCompiler) -> Result<PathBuf> {
    let rustc = &compiler.rustc;
    let libraries = stdout_of(Command::new("ldd").arg(rustc))?;
    let llvm = llvm_in(&libraries).with_context(|| {
        format!(
            "{} loads no libLLVM, which bpf-linker needs; use another compiler",
            rustc.display()
        )
    })?;
    let directory = tools.join("llvm");
    let link = directory.join("libLLVM.so");
    if fs::read_link(&link).is_ok_and(|target| target == llvm) {
        return Ok(directory);
    }
    let put = || {
        fs::create_dir_all(&directory)?;
        match fs::remove_file(&link) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        symlink(&llvm, &link)
    };
    put().with_context(|| format!("cannot write {}", link.display()))?;
    Ok(directory)
}

/// The path of libLLVM in what `ldd` says.
fn llvm_in(libraries: &str) -> Option<PathBuf> {
    let line = libraries
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("libLLVM"))?;
    let (_, path) = line.split_once("=> ")?;
    let path = path.split(" (").next()?;
    path.starts_with('/').then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_compilers_llvm_among_its_libraries() {
        let libraries = "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f106ba1e000)\n\
                         \tlibLLVM.so.22.1 => /lib/x86_64-linux-gnu/libLLVM.so.22.1 (0x00007f1062a00000)\n";
        assert_eq!(
            llvm_in(libraries),
            Some(PathBuf::from("/lib/x86_64-linux-gnu/libLLVM.so.22.1"))
        );
    }

    #[test]
    fn a_library_that_is_not_found_is_none() {
        assert_eq!(llvm_in("\tlibLLVM.so.22.1 => not found\n"), None);
        assert_eq!(llvm_in("\tlibc.so.6 => /lib/libc.so.6 (0x7f)\n"), None);
    }
}
