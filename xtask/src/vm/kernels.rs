//! Debian's kernels, fetched once and kept below target/.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use super::private_apt::PrivateApt;
use crate::command::{announce, stdout_of};

/// A kernel that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Series {
    /// Its version without the last number.
    pub version: &'static str,
    /// The Debian that has it.
    distribution: &'static str,
}

/// All of them, the oldest first.
pub const ALL: &[Series] = &[
    Series {
        version: "5.10",
        distribution: "bullseye",
    },
    Series {
        version: "6.1",
        distribution: "bookworm",
    },
    Series {
        version: "6.12",
        distribution: "trixie",
    },
];

/// Debian's name for the machine that qemu plays.
const ARCHITECTURE: &str = "amd64";
/// Always depends on the newest kernel made for virtual machines.
const NEWEST: &str = "linux-image-cloud-amd64";
/// Kernel modules that the tests need, each behind those it needs itself.
const MODULES: &[&str] = &["inet_diag", "tcp_diag", "tun", "veth"];

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

/// The series that the user has named, or all.
pub fn chosen(names: &[String]) -> Result<Vec<Series>> {
    if names.is_empty() {
        return Ok(ALL.to_vec());
    }
    let find = |name: &String| ALL.iter().copied().find(|series| series.version == name);
    names
        .iter()
        .map(|name| {
            find(name).with_context(|| {
                let known: Vec<_> = ALL.iter().map(|series| series.version).collect();
                format!(
                    "no kernel {name} to test on; there are {}",
                    known.join(", ")
                )
            })
        })
        .collect()
}

impl Series {
    /// Finds the kernel in the cache `directory`, or fetches it.
    pub fn find_or_fetch(self, directory: &Path) -> Result<Kernel> {
        let home = directory.join(self.version);
        if !home.exists() {
            self.fetch(&home).with_context(|| {
                format!(
                    "cannot fetch Debian {}'s Linux {}",
                    self.distribution, self.version
                )
            })?;
        }
        Kernel::in_directory(&home)
    }

    fn fetch(self, home: &Path) -> Result<()> {
        announce(format_args!(
            "kernel {}: fetching Debian {}'s (once; `rm -r {}` for a newer one)",
            self.version,
            self.distribution,
            home.display()
        ));
        // Everything is made beside its place, so that what is in place is complete.
        let draft = home.with_extension("draft");
        remove(&draft)?;
        let apt = PrivateApt::of(self.distribution, ARCHITECTURE, draft.join("apt"))?;
        let tree = draft.join("tree");
        apt.unpack(&apt.first_dependency(NEWEST)?, &tree)?;
        apt.unpack("busybox-static", &tree)?;

        let kept = draft.join("kept");
        fs::create_dir_all(&kept).with_context(|| format!("cannot make {}", kept.display()))?;
        let files = files_below(&tree)?;
        let busybox = kept.join("busybox");
        copy(find(&files, "busybox")?, &busybox)?;
        copy(find_image(&files)?, &kept.join("vmlinuz"))?;
        for (number, module) in MODULES.iter().enumerate() {
            // The number keeps the order in the directory's listing.
            let to = kept.join(format!("{number}-{module}.ko"));
            if let Ok(plain) = find(&files, &format!("{module}.ko")) {
                copy(plain, &to)?;
            } else if let Ok(packed) = find(&files, &format!("{module}.ko.xz")) {
                copy(packed, &to.with_extension("ko.xz"))?;
                stdout_of(
                    Command::new(&busybox)
                        .arg("unxz")
                        .arg(to.with_extension("ko.xz")),
                )?;
            }
        }
        fs::rename(&kept, home).with_context(|| format!("cannot write {}", home.display()))?;
        remove(&draft)
    }
}

impl Kernel {
    fn in_directory(home: &Path) -> Result<Self> {
        let mut modules = files_below(home)?;
        modules.retain(|file| file.extension().is_some_and(|extension| extension == "ko"));
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
        name.starts_with("vmlinuz-")
    };
    let Some(image) = files.iter().find(is_image) else {
        bail!("the package has no kernel");
    };
    Ok(image)
}

/// All plain files below `directory`.
fn files_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let cannot = || format!("cannot read {}", directory.display());
        for entry in fs::read_dir(&directory).with_context(cannot)? {
            let entry = entry.with_context(cannot)?;
            let kind = entry.file_type().with_context(cannot)?;
            if kind.is_dir() {
                directories.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
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

    fn versions(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let chosen = chosen(&names).unwrap();
        chosen.into_iter().map(|series| series.version).collect()
    }

    #[test]
    fn all_kernels_are_chosen_where_none_is_named() {
        assert_eq!(versions(&[]), ["5.10", "6.1", "6.12"]);
        assert_eq!(versions(&["6.12", "5.10"]), ["6.12", "5.10"]);
    }

    #[test]
    fn an_unknown_kernel_is_refused_and_the_known_ones_are_named() {
        let error = chosen(&["6.2".to_owned()]).unwrap_err().to_string();
        assert!(
            error.contains("6.2") && error.contains("5.10, 6.1, 6.12"),
            "{error}"
        );
    }

    #[test]
    fn a_module_needs_only_what_stands_before_it() {
        let place = |name| MODULES.iter().position(|module| *module == name);
        assert!(place("inet_diag") < place("tcp_diag"));
    }
}
