//! Debian's kernels, fetched once and kept below target/.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{private_apt::PrivateApt, series::Series};
use crate::{command::announce, files::files_below};

/// What the newest of a kind depends on: the kernel itself.
const KERNEL_PACKAGE: &str = "linux-image-";
/// From Linux 6.19 on that package is empty, and these have the kernel and its modules.
const SPLIT_PACKAGES: [&str; 2] = ["linux-binary-", "linux-modules-"];
/// Kernel modules that the tests need, each behind those it needs itself.
const MODULES: &[&str] = &["inet_diag", "tcp_diag", "tun", "veth"];
/// How their files' names end, plain and packed.
const MODULE_ENDINGS: [&str; 2] = ["ko", "ko.xz"];

/// A kernel with its modules and a shell for its machine.
#[derive(Debug)]
pub struct Kernel {
    /// What qemu boots.
    pub image: PathBuf,
    /// Its modules in the order in which they are to be loaded. What is built in is not here.
    pub modules: Vec<PathBuf>,
    /// A busybox that needs no libraries.
    pub busybox: PathBuf,
}

/// Finds the kernel in the cache `directory`, or fetches it.
pub fn find_or_fetch(series: &Series, directory: &Path) -> Result<Kernel> {
    let home = directory.join(series.name);
    if !home.exists() {
        fetch(series, &home).with_context(|| {
            format!(
                "cannot fetch Debian {}'s {}",
                series.distribution, series.package
            )
        })?;
    }
    Kernel::in_directory(&home)
}

fn fetch(series: &Series, home: &Path) -> Result<()> {
    announce(format_args!(
        "kernel {}: fetching Debian {}'s (once; `rm -r {}` for a newer one)",
        series.name,
        series.distribution,
        home.display()
    ));
    // Everything is made beside its place, so that what is in place is complete.
    let draft = home.with_added_extension("draft");
    remove(&draft)?;
    let tree = draft.join("tree");
    let architecture = series.arch.debian();
    let apt = PrivateApt::new(series.distribution, architecture, draft.join("apt"))?;
    let package = apt.dependency(series.package, KERNEL_PACKAGE)?;
    apt.unpack(&package, &tree)?;
    if find_image(&files_below(&tree, |_| true)?).is_err() {
        let version = package.trim_start_matches(KERNEL_PACKAGE);
        for kind in SPLIT_PACKAGES {
            apt.unpack(&format!("{kind}{version}"), &tree)?;
        }
    }
    let stable = series.stable_distribution();
    let apt = PrivateApt::new(stable, architecture, draft.join("stable-apt"))?;
    apt.unpack("busybox-static", &tree)?;

    let kept = draft.join("kept");
    fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
    let files = files_below(&tree, |_| true)?;
    copy(find(&files, "busybox")?, &kept.join("busybox"))?;
    copy(find_image(&files)?, &kept.join("vmlinuz"))?;
    for (number, module) in MODULES.iter().enumerate() {
        // What is built in is in no file. The machine's own busybox unpacks what is packed.
        for ending in MODULE_ENDINGS {
            if let Ok(file) = find(&files, &format!("{module}.{ending}")) {
                // The number keeps the order in the directory's listing.
                copy(file, &kept.join(format!("{number}-{module}.{ending}")))?;
            }
        }
    }
    fs::rename(&kept, home).with_context(|| format!("cannot write {}", home.display()))?;
    remove(&draft)
}

impl Kernel {
    fn in_directory(home: &Path) -> Result<Self> {
        let mut modules = files_below(home, |_| true)?;
        modules.retain(|file| {
            let name = file.to_string_lossy();
            MODULE_ENDINGS
                .iter()
                .any(|ending| name.ends_with(&format!(".{ending}")))
        });
        modules.sort();
        Ok(Self {
            image: home.join("vmlinuz"),
            busybox: home.join("busybox"),
            modules,
        })
    }
}

fn find<'a>(files: &'a [PathBuf], name: &str) -> Result<&'a Path> {
    let mut files = files.iter();
    let file = files.find(|file| file.file_name().is_some_and(|known| known == name));
    file.map(PathBuf::as_path)
        .with_context(|| format!("the package has no {name}"))
}

fn find_image(files: &[PathBuf]) -> Result<&Path> {
    let is_image = |file: &&PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name == "vmlinuz" || name == "vmlinux" || name.starts_with("vmlinuz-")
    };
    let Some(image) = files.iter().find(is_image) else {
        bail!("the package has no kernel");
    };
    Ok(image)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("cannot remove {}", directory.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_found_where_each_debian_has_it() {
        for path in [
            "t/boot/vmlinuz-6.12.1-cloud-arm64",
            "t/usr/lib/modules/7.3.4-cloud-amd64/vmlinuz",
        ] {
            let files = ["t/boot/System.map-6.12.1", "t/x/vmlinux.h", path].map(PathBuf::from);
            assert_eq!(find_image(&files).unwrap(), Path::new(path));
            find_image(&files[..2]).unwrap_err();
        }
    }

    #[test]
    fn a_module_needs_only_earlier_modules() {
        let place = |name| MODULES.iter().position(|module| *module == name);
        assert!(place("inet_diag") < place("tcp_diag"));
    }
}
