//! The architectures that programs are made for, and their names everywhere.

use std::env;

use clap::ValueEnum;

/// An architecture, as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Arch {
    /// What Debian calls amd64.
    #[value(name = "x86_64")]
    X86_64,
    /// What Debian calls arm64.
    #[value(name = "aarch64")]
    Aarch64,
}

impl Arch {
    /// The architectures that packages are built for.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The kernel's name, which is rpm's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name, which is that of images too.
    pub fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Rust's target.
    pub fn target(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
        }
    }

    /// Returns whether it is this host's.
    pub fn is_native(self) -> bool {
        self.name() == env::consts::ARCH
    }

    /// The program that removes debug information from programs for it.
    pub fn strip(self) -> String {
        if self.is_native() {
            return "strip".to_owned();
        }
        // binutils come with the compiler.
        format!("{}-linux-gnu-strip", self.name())
    }

    /// The C compiler that makes programs for it here, and its prefix.
    pub fn compiler(self) -> Compiler {
        match self {
            _ if self.is_native() => Compiler {
                program: "cc",
                packages: &["gcc", "libc6-dev"],
            },
            Self::X86_64 => Compiler {
                program: "x86_64-linux-gnu-gcc",
                packages: &["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"],
            },
            Self::Aarch64 => Compiler {
                program: "aarch64-linux-gnu-gcc",
                packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
            },
        }
    }
}

/// A C compiler, which also links.
#[derive(Clone, Copy, Debug)]
pub struct Compiler {
    /// The name of its program.
    pub program: &'static str,
    /// Debian's packages with it and with the static C library.
    pub packages: &'static [&'static str],
}
