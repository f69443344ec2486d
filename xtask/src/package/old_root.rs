//! A root with an old distribution, for tests of packages.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{announce, stdout_of},
    debian_mirror, needs,
    privilege::Privilege,
    workspace::Workspace,
};

/// Debian 11: glibc 2.31, and the oldest distribution that runs a kernel with all that is needed.
const DISTRIBUTION: &str = "bullseye";
/// Looks up names of hosts by a module of the distribution's own.
const NSS_PACKAGE: &str = "libnss-myhostname";

/// Returns the root's folder; the root is made where it is missing, which takes a minute.
pub fn old_root(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.target.join("roots").join(DISTRIBUTION);
    if root.exists() {
        return Ok(root);
    }
    needs::need(&["debootstrap"], &["debootstrap"])?;
    let scratch = root.with_extension("lists");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot make {}", scratch.display()))?;
    let mut reasons = Vec::new();
    for mirror in debian_mirror::addresses(&scratch)? {
        match make(&root, &mirror) {
            Ok(()) => return Ok(root),
            Err(error) => reasons.push(format!("{error:#}")),
        }
    }
    bail!(
        "cannot make a root with {DISTRIBUTION}: {}",
        reasons.join("; ")
    )
}

fn make(root: &Path, mirror: &str) -> Result<()> {
    announce(format_args!(
        "debootstrap: making a root with {DISTRIBUTION}"
    ));
    let draft = root.with_extension("draft");
    let Some(mut debootstrap) = Privilege::detect().unattended("debootstrap") else {
        bail!("debootstrap needs root, or a sudo that asks no password");
    };
    debootstrap
        .args(["--variant=minbase", "--include", NSS_PACKAGE, DISTRIBUTION])
        .arg(&draft)
        .arg(mirror);
    stdout_of(&mut debootstrap)?;
    fs::rename(&draft, root).with_context(|| format!("cannot write {}", root.display()))
}
