//! Whether packages have the same bytes each time.

use std::{
    env, fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    contents,
    host::{self, Epoch},
    make::{Package, SUMS, package},
};
use crate::{
    arch::Arch,
    command::{announce, run},
    workspace::Workspace,
};

/// Makes the packages for this host's architecture twice. Returns their folder, and whether they
/// are the same.
pub fn make_twice(workspace: &Workspace) -> Result<(PathBuf, bool)> {
    let native = Arch::ALL.into_iter().filter(|arch| arch.is_native());
    let arguments = Package {
        arch: native.collect(),
        only: Vec::new(),
    };
    let first = sums(&package(workspace, &arguments)?)?;
    let folder = package(workspace, &arguments)?;
    let second = sums(&folder)?;
    Ok((folder, compare(&first, &second)))
}

/// Makes the packages for all architectures here and in a copy of the checkout, compiled anew.
/// Returns whether they are the same.
pub fn make_from_two_checkouts(workspace: &Workspace) -> Result<bool> {
    let arguments = Package {
        arch: Vec::new(),
        only: Vec::new(),
    };
    let here = sums(&package(workspace, &arguments)?)?;
    let copy = workspace.target.join("packages-copy");
    contents::new_folder(&copy)?;
    host::copy_sources(workspace, &copy)?;
    let program = env::current_exe().context("cannot find this program")?;
    announce(format_args!("package: the same in {}", copy.display()));
    let target = copy.join("target");
    // Tools are no part of what is compared.
    contents::new_folder(&target)?;
    let tools = target.join("tools");
    symlink(workspace.tools(), &tools)
        .with_context(|| format!("cannot write {}", tools.display()))?;
    run(
        Command::new(program)
            .arg("package")
            // cargo would set it for an xtask of that checkout.
            .env("CARGO_MANIFEST_DIR", copy.join("xtask"))
            .env("CARGO_TARGET_DIR", &target)
            .env("SOURCE_DATE_EPOCH", Epoch::find(workspace)?.0.to_string()),
        "making the packages in a copy of the checkout",
    )?;
    let there = sums(&target.join("packages"))?;
    let is_same = compare(&here, &there);
    fs::remove_dir_all(&copy).with_context(|| format!("cannot remove {}", copy.display()))?;
    Ok(is_same)
}

fn sums(folder: &Path) -> Result<String> {
    let file = folder.join(SUMS);
    fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))
}

fn compare(first: &str, second: &str) -> bool {
    let differing: Vec<_> = first
        .lines()
        .filter(|line| !second.lines().any(|other| other == *line))
        .filter_map(|line| line.split_whitespace().last())
        .collect();
    if !differing.is_empty() {
        let names = differing.join(", ");
        announce(format_args!(
            "package: other bytes the second time: {names}"
        ));
    }
    first == second
}

#[cfg(test)]
mod tests {
    use super::compare;

    #[test]
    fn other_bytes_and_missing_packages_are_differences() {
        let sums = "aa  one.deb\nbb  two.rpm\n";
        assert!(compare(sums, sums));
        assert!(!compare(sums, "aa  one.deb\ncc  two.rpm\n"));
        assert!(!compare(sums, "aa  one.deb\n"));
        assert!(!compare("aa  one.deb\n", sums));
    }
}
