//! The lists of the crates inside the program and inside its eBPF programs, in CycloneDX's format.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{contents, host, release::Release};
use crate::{arch::Arch, command::stdout_of, tool::Tool, workspace::Workspace};

/// Writes the list. Its own work takes a second, so it is not worth a release build.
const CARGO_CYCLONEDX: Tool = Tool {
    name: "cargo-cyclonedx",
    version: "0.5.9",
    profile: "dev",
};

/// What it writes in each folder, without its extension.
const SBOM_FILE_STEM: &str = "sbom.cdx";

/// The programs, and their folders.
const PROGRAMS: [(&str, &str); 2] = [("tcpclose", "tracer"), ("tcpclose-ebpf", "tracer-ebpf")];

/// Writes them and returns their paths.
pub fn write(workspace: &Workspace, release: &Release, scratch: &Path) -> Result<Vec<PathBuf>> {
    let program = CARGO_CYCLONEDX.find_or_install(workspace)?;
    // It writes beside each Cargo.toml: in a copy, no checkout is littered.
    contents::new_folder(scratch)?;
    host::copy_sources(workspace, scratch)?;
    let mut command = Command::new(program);
    command
        .args(["cyclonedx", "--format", "json", "--no-build-deps"])
        .args(["--target", Arch::X86_64.target()])
        .args(["--override-filename", SBOM_FILE_STEM])
        .current_dir(scratch)
        .env("SOURCE_DATE_EPOCH", release.epoch.0.to_string());
    stdout_of(&mut command).context("cannot list the crates")?;
    let mut files = Vec::new();
    for (name, folder) in PROGRAMS {
        let written = scratch.join(folder).join(format!("{SBOM_FILE_STEM}.json"));
        let text = fs::read_to_string(&written)
            .with_context(|| format!("cannot read {}", written.display()))?;
        let file = release
            .folder
            .join(format!("{name}-{}.cdx.json", release.version));
        // Crates of this workspace are named by their folders.
        let text = text.replace(&scratch.display().to_string(), "/build");
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        files.push(file);
    }
    Ok(files)
}
