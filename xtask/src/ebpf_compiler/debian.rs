//! Debian's compiler: recent (it is there to build Firefox and Chromium) and with a compiled `core`
//! for eBPF.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::compiler::{Core, EbpfCompiler, RustcVersion, TARGET};
use crate::{apt::Apt, command::stdout_of};

/// Who distributes it.
pub const VENDOR: &str = "Debian's";
/// The compiler and its `core` for eBPF.
pub const PACKAGES: [&str; 2] = ["rustc-web", "libstd-rust-web-dev-bpf"];
/// Its linter.
pub const CLIPPY_PACKAGE: &str = "rust-web-clippy";

/// The first release of rustc with the LLVM that bpf-linker needs.
const MIN_RELEASE: (u32, u32) = (1, 95);

/// The system's compiler, if it can compile for eBPF.
pub fn find() -> Option<EbpfCompiler> {
    let rustc = PathBuf::from("/usr/bin/rustc");
    if !rustc.exists() {
        return None;
    }
    let core = stdout_of(
        Command::new(&rustc)
            .args(["--print", "target-libdir", "--target", TARGET])
            // /usr/bin/rustc may be rustup's.
            .env_remove("RUSTUP_TOOLCHAIN")
            .env("RUSTUP_AUTO_INSTALL", "0"),
    )
    .ok()?;
    if !has_core(Path::new(core.trim())) {
        return None;
    }
    let version = RustcVersion::query(&rustc).ok()?;
    version.has_our_llvm().then(|| EbpfCompiler {
        vendor: VENDOR,
        cargo: None,
        core: Core::Prebuilt,
        clippy: Some(PathBuf::from("/usr/bin/cargo-clippy"))
            .filter(|clippy| clippy.exists() && rustc.with_file_name("clippy-driver").exists()),
        version,
        rustc,
    })
}

/// Installs it with apt.
pub fn install(apt: &Apt) -> Result<()> {
    for package in PACKAGES {
        match apt.candidate(package) {
            None => bail!("apt has no {package}"),
            Some(version) if release_of(&version).is_none_or(|release| release < MIN_RELEASE) => {
                bail!(
                    "apt's {package} is {version}, and {}.{} is the oldest that will do",
                    MIN_RELEASE.0,
                    MIN_RELEASE.1
                )
            }
            Some(_) => {}
        }
    }
    apt.install(&PACKAGES)
}

fn has_core(libdir: &Path) -> bool {
    let mut files = fs::read_dir(libdir).into_iter().flatten().flatten();
    files.any(|file| {
        let name = file.file_name();
        name.to_str()
            .is_some_and(|name| name.starts_with("libcore-") && name.ends_with(".rlib"))
    })
}

/// The major and minor number in a Debian version such as `1.96.0+dfsg1-1~deb12u2`.
fn release_of(version: &str) -> Option<(u32, u32)> {
    let upstream = version.rsplit(':').next()?;
    let mut numbers = upstream.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_debian_versions_by_release() {
        assert_eq!(release_of("1.96.0+dfsg1-1~deb12u2"), Some((1, 96)));
        assert_eq!(release_of("2:1.85.0+dfsg3-1"), Some((1, 85)));
        assert_eq!(release_of("nonsense"), None);
        assert!(Some((1, 85)) < Some(MIN_RELEASE));
        assert!(Some((1, 100)) > Some(MIN_RELEASE));
    }

    #[test]
    fn a_directory_without_core_will_not_do() {
        assert!(!has_core(Path::new("/nowhere/at-all")));
    }
}
