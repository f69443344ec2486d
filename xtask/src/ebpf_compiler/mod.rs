//! The compiler for the eBPF programs: found, or installed.
//!
//! Two are known to work: Debian's, which brings a compiled `core` for the kernel's target, and a
//! nightly from rustup, which compiles `core` from its source.

mod compiler;
mod debian;
mod rustup;

use anyhow::{Context as _, Result, bail};

pub use self::compiler::{Core, EbpfCompiler, TARGET};
pub use self::debian::CLIPPY_PACKAGE;
use crate::{apt::Apt, command::announce, privilege::Privilege, workspace::Workspace};

/// A distributor of the compiler, and how its compiler is found or installed.
struct CompilerSource {
    /// As [`EbpfCompiler::vendor`].
    vendor: &'static str,
    find: fn(&Workspace) -> Option<EbpfCompiler>,
    install: fn(&Workspace) -> Result<()>,
}

/// The best first.
const SOURCES: [CompilerSource; 2] = [
    CompilerSource {
        vendor: debian::VENDOR,
        find: |_| debian::find(),
        install: |_| {
            let apt = Apt::find(Privilege::detect()).map_err(anyhow::Error::msg)?;
            debian::install(&apt)
        },
    },
    CompilerSource {
        vendor: rustup::VENDOR,
        find: rustup::find,
        install: rustup::install,
    },
];

/// Finds a compiler, or installs one.
pub fn find_or_install(workspace: &Workspace) -> Result<EbpfCompiler> {
    if let Some(compiler) = SOURCES.iter().find_map(|source| (source.find)(workspace)) {
        return Ok(announced(compiler));
    }
    announce("eBPF compiler: none here yet");
    let mut reasons = Vec::new();
    for source in &SOURCES {
        match source.install(workspace) {
            Ok(compiler) => return Ok(announced(compiler)),
            Err(error) => {
                announce(format_args!(
                    "eBPF compiler: not {}: {error:#}",
                    source.vendor
                ));
                reasons.push(format!("not {} ({error:#})", source.vendor));
            }
        }
    }
    bail!(
        "no compiler for eBPF could be installed: {}; install rustup (https://rustup.rs), or as root on Debian run \
         `apt-get install {}`",
        reasons.join(", "),
        debian::PACKAGES.join(" ")
    )
}

/// Finds or installs the compiler with this [identity](EbpfCompiler::identity), and no other.
pub fn find_or_install_exactly(workspace: &Workspace, identity: &str) -> Result<EbpfCompiler> {
    let mut sources = SOURCES.iter();
    let source = sources
        .find(|source| identity.starts_with(source.vendor))
        .context("nobody is known who distributes it")?;
    let compiler = match (source.find)(workspace) {
        Some(compiler) => compiler,
        None => source.install(workspace)?,
    };
    if compiler.identity() != identity {
        bail!("{} is here", compiler.identity());
    }
    Ok(announced(compiler))
}

impl CompilerSource {
    fn install(&self, workspace: &Workspace) -> Result<EbpfCompiler> {
        (self.install)(workspace)?;
        (self.find)(workspace).context("what was installed does not fit bpf-linker")
    }
}

fn announced(compiler: EbpfCompiler) -> EbpfCompiler {
    announce(format_args!("eBPF compiler: {compiler}"));
    compiler
}
