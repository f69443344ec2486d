//! A compiler for the eBPF programs.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command::stdout_of;

/// The kernel's target; its byte order is the host's.
pub const TARGET: &str = if cfg!(target_endian = "big") {
    "bpfeb-unknown-none"
} else {
    "bpfel-unknown-none"
};

/// The LLVM that bpf-linker is built for. It loads rustc's own, so rustc must have this one.
pub const LLVM_MAJOR: u32 = 22;

/// Where `core` for the kernel's target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Installed beside the compiler.
    Prebuilt,
    /// Compiled with the programs (`-Z build-std`).
    FromSource,
}

/// A compiler that can compile the eBPF programs.
#[derive(Debug)]
pub struct EbpfCompiler {
    /// Who distributes it: "Debian's".
    pub vendor: &'static str,
    /// The compiler itself.
    pub rustc: PathBuf,
    /// The cargo that belongs to it, where it must be that one.
    pub cargo: Option<PathBuf>,
    /// Where its `core` comes from.
    pub core: Core,
    /// The cargo-clippy that belongs to it, if it is installed.
    pub clippy: Option<PathBuf>,
    /// Its version.
    pub version: RustcVersion,
}

impl fmt::Display for EbpfCompiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vendor, version, ..
        } = self;
        let RustcVersion { release, llvm, .. } = version;
        write!(
            f,
            "{vendor} rustc {release}, LLVM {llvm} ({})",
            self.rustc.display()
        )
    }
}

impl EbpfCompiler {
    /// Returns what two compilers that compile alike have in common.
    pub fn identity(&self) -> String {
        let Self {
            vendor, version, ..
        } = self;
        let RustcVersion { full, llvm, .. } = version;
        format!("{vendor} {full}, LLVM {llvm}")
    }
}

/// The version that `rustc -vV` reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RustcVersion {
    /// The whole first line: "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"
    pub full: String,
    /// The version of the compiler: "1.96.0"
    pub release: String,
    /// The version of its LLVM: "22.1.8"
    pub llvm: String,
    /// The machine that it runs on: "x86_64-unknown-linux-gnu"
    pub host: String,
}

impl RustcVersion {
    /// Asks `rustc`.
    pub fn query(rustc: &Path) -> Result<Self> {
        let reported = stdout_of(
            Command::new(rustc)
                .arg("-vV")
                .env_remove("RUSTUP_TOOLCHAIN")
                .env("RUSTUP_AUTO_INSTALL", "0"),
        )?;
        Self::parse(&reported)
            .with_context(|| format!("cannot read what `{} -vV` says", rustc.display()))
    }

    /// Returns whether bpf-linker can work with its LLVM.
    pub fn has_our_llvm(&self) -> bool {
        let major = self.llvm.split('.').next().unwrap_or_default();
        major.parse() == Ok(LLVM_MAJOR)
    }

    fn parse(reported: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = reported.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.strip_prefix(':')?.trim().to_owned())
        };
        Some(Self {
            full: reported.lines().next()?.to_owned(),
            release: field("release")?,
            llvm: field("LLVM version")?,
            host: field("host")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUSTC_OUTPUT: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\nbinary: rustc\n\
                        host: x86_64-unknown-linux-gnu\nrelease: 1.96.0\nLLVM version: 22.1.8\n";

    #[test]
    fn reads_a_compilers_version() {
        let version = RustcVersion::parse(RUSTC_OUTPUT).unwrap();
        assert_eq!(
            version.full,
            "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)"
        );
        assert_eq!(version.release, "1.96.0");
        assert_eq!(version.llvm, "22.1.8");
        assert_eq!(version.host, "x86_64-unknown-linux-gnu");
        assert!(version.has_our_llvm());
    }

    #[test]
    fn another_llvm_version_is_refused() {
        for llvm in ["21.1.0", "23.0.0", "2.2", "unknown"] {
            let reported = RUSTC_OUTPUT.replace("22.1.8", llvm);
            assert!(
                !RustcVersion::parse(&reported).unwrap().has_our_llvm(),
                "{llvm}"
            );
        }
    }

    #[test]
    fn a_compiler_without_llvm_is_refused() {
        assert_eq!(RustcVersion::parse("rustc 1.96.0\nrelease: 1.96.0\n"), None);
    }
}
