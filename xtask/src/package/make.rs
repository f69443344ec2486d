//! Makes the packages that are wanted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::{
    contents, deb,
    host::{self, Epoch},
    image,
    items::Common,
    program,
    release::Release,
    rpm, sbom, tarball,
};
use crate::{arch::Arch, command::announce, workspace::Workspace};

/// Arguments of `cargo xtask package`.
#[derive(Args)]
pub struct Package {
    /// Make packages for these architectures only; an image has all that are named
    #[arg(long, value_delimiter = ',', value_name = "ARCH")]
    pub arch: Vec<Arch>,
    /// Make these packages only
    #[arg(long, value_delimiter = ',', value_name = "FORMAT")]
    pub only: Vec<Format>,
}

/// A format of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A folder for any Linux
    Tarball,
    /// For Debian, Ubuntu and others
    Deb,
    /// For Fedora, RHEL, SUSE and others
    Rpm,
    /// A container image, in OCI's layout
    Image,
    /// The lists of all crates inside, in CycloneDX's format
    Sbom,
}

/// The file with the sums of all packages.
pub const SUMS: &str = "SHA256SUMS";

/// Makes the packages and returns their folder.
pub fn package(workspace: &Workspace, package: &Package) -> Result<PathBuf> {
    let chosen = |format| package.only.is_empty() || package.only.contains(&format);
    let arches = match package.arch.as_slice() {
        [] => Arch::ALL.to_vec(),
        arches => {
            let mut arches = arches.to_vec();
            arches.sort();
            arches.dedup();
            arches
        }
    };
    let release = Release {
        version: workspace.version("tcpclose")?,
        epoch: Epoch::find(workspace)?,
        folder: workspace.target.join("packages"),
    };
    let scratch = workspace.target.join("packages-scratch");
    contents::new_folder(&release.folder)?;
    let mut files = Vec::new();
    if chosen(Format::Sbom) {
        files.extend(sbom::write(workspace, &release, &scratch.join("sbom"))?);
    }
    if package.only != [Format::Sbom] {
        files.extend(with_programs(
            workspace, &release, &arches, chosen, &scratch,
        )?);
    }
    write_sums(&release.folder, &files)?;
    for file in &files {
        announce(format_args!("package: {}", file.display()));
    }
    Ok(release.folder)
}

/// Makes the packages that have a program inside.
fn with_programs(
    workspace: &Workspace,
    release: &Release,
    arches: &[Arch],
    chosen: impl Fn(Format) -> bool,
    scratch: &Path,
) -> Result<Vec<PathBuf>> {
    let common = Common::make(workspace, release, &scratch.join("common"))?;
    let mut files = Vec::new();
    let mut programs = Vec::new();
    for &arch in arches {
        let program = program::build(workspace, arch)?;
        let items = common.with_program(&program);
        let scratch = scratch.join(arch.name());
        contents::new_folder(&scratch)?;
        if chosen(Format::Tarball) {
            files.push(tarball::write(release, arch, &items, &scratch)?);
        }
        if chosen(Format::Deb) {
            files.push(deb::write(workspace, release, arch, &items, &scratch)?);
        }
        if chosen(Format::Rpm) {
            files.push(rpm::write(workspace, release, arch, &items, &scratch)?);
        }
        programs.push((arch, items));
    }
    if chosen(Format::Image) {
        let scratch = scratch.join("image");
        files.push(image::write(workspace, release, &programs, &scratch)?);
    }
    Ok(files)
}

/// Writes the sums in the format that `sha256sum --check` reads.
fn write_sums(folder: &Path, files: &[PathBuf]) -> Result<()> {
    let mut lines = Vec::new();
    for file in files {
        let name = file.file_name().context("a package has a name")?;
        lines.push(format!("{}  {}\n", host::sha256(file)?, name.display()));
    }
    let sums = folder.join(SUMS);
    fs::write(&sums, lines.concat()).with_context(|| format!("cannot write {}", sums.display()))
}
