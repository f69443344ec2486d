//! The tarball: one folder that works wherever it is unpacked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{
    contents::{self, Item, Layout},
    host,
    release::Release,
};
use crate::arch::Arch;

/// Writes it and returns its path.
pub fn write(release: &Release, arch: Arch, items: &[Item], scratch: &Path) -> Result<PathBuf> {
    let name = format!("tcpclose-{}-{}", release.version, arch.name());
    contents::stage(items, Layout::Tarball, &scratch.join(&name))?;
    let archive = scratch.join("tarball.tar");
    host::tar(scratch, &[&name], &archive, release.epoch)?;
    let file = release.folder.join(format!("{name}.tar.gz"));
    host::gzip(&archive, &file)?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))?;
    Ok(file)
}
