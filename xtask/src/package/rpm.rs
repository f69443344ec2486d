//! The package for distributions with rpm, which rpmbuild writes by dist/rpm/tcpclose.spec.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    contents::{self, Item, Layout},
    release::Release,
};
use crate::{arch::Arch, command::stdout_of, needs, workspace::Workspace};

/// Writes it and returns its path.
pub fn write(
    workspace: &Workspace,
    release: &Release,
    arch: Arch,
    items: &[Item],
    scratch: &Path,
) -> Result<PathBuf> {
    needs::need(&["rpmbuild"], &["rpm"])?;
    let tree = scratch.join("rpm");
    contents::stage(items, Layout::Rpm, &tree)?;
    let work = scratch.join("rpmbuild");
    contents::new_folder(&work)?;
    let mut build = Command::new("rpmbuild");
    build
        .args(["-bb", "--quiet", "--target"])
        .arg(format!("{}-linux", arch.name()));
    let define = |build: &mut Command, name: &str, value: &str| {
        build.arg("--define").arg(format!("{name} {value}"));
    };
    define(&mut build, "_topdir", &work.display().to_string());
    define(&mut build, "tree", &tree.display().to_string());
    define(&mut build, "upstream_version", &release.version);
    // The same bytes at any time and on any host.
    define(&mut build, "use_source_date_epoch_as_buildtime", "1");
    define(&mut build, "clamp_mtime_to_source_date_epoch", "1");
    define(&mut build, "_buildhost", "localhost");
    build
        .arg(workspace.root.join("dist/rpm/tcpclose.spec"))
        .env("SOURCE_DATE_EPOCH", release.epoch.0.to_string());
    stdout_of(&mut build).context("cannot make the rpm")?;
    let name = format!("tcpclose-{}-1.{}.rpm", release.version, arch.name());
    let built = work.join("RPMS").join(arch.name()).join(&name);
    let file = release.folder.join(name);
    fs::copy(&built, &file)
        .with_context(|| format!("cannot copy {} to {}", built.display(), file.display()))?;
    Ok(file)
}
