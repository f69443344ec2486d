//! Installs Debian's packages without asking and without removing anything.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{announce, find_program, stdout_of},
    privilege::Privilege,
};

/// apt on this machine, for a user who may use it.
pub struct Apt {
    privilege: Privilege,
}

/// As root, apt downloads as a user who cannot enter every checkout.
pub const DOWNLOAD_AS_CALLER: [&str; 2] = ["-o", "APT::Sandbox::User=root"];

/// Whether the package lists are as new as this run.
static UPDATED: AtomicBool = AtomicBool::new(false);

impl Apt {
    /// The reason is a clause that fits behind "because".
    pub fn find(privilege: Privilege) -> Result<Self, &'static str> {
        if find_program("apt-get").is_none() || find_program("apt-cache").is_none() {
            return Err("there is no apt here");
        }
        if privilege.unattended("true").is_none() {
            return Err("apt needs root, or a sudo that asks no password");
        }
        Ok(Self { privilege })
    }

    /// The version of `package` that would be installed, by lists that are up to date.
    pub fn candidate(&self, package: &str) -> Option<String> {
        self.update();
        let policy = stdout_of(
            Command::new("apt-cache")
                .args(["policy", package])
                .env("LC_ALL", "C"),
        );
        candidate_in(&policy.ok()?)
    }

    /// Installs `packages`, with what they need and nothing they only recommend.
    pub fn install(&self, packages: &[&str]) -> Result<()> {
        self.update();
        announce(format_args!("apt: installing {}", packages.join(" ")));
        let mut command = self.apt_get()?;
        // --no-remove: rather fail than take another package's place (Debian's rustc-web conflicts
        // with rustc).
        command
            .args(["install", "--no-install-recommends", "--no-remove"])
            .args(packages);
        stdout_of(&mut command)
            .with_context(|| format!("cannot install {}", packages.join(" ")))?;
        Ok(())
    }

    /// Unpacks `package`, and what it needs that is not installed, into the new directory `into`.
    /// Nothing is installed, so an installed package that it conflicts with may stay.
    pub fn unpack(&self, package: &str, into: &Path) -> Result<()> {
        self.update();
        announce(format_args!(
            "apt: fetching {package} (nothing is installed)"
        ));
        let draft = into.with_extension("draft");
        // Of a run that was stopped.
        let _ = fs::remove_dir_all(&draft);
        let (archives, tree) = (draft.join("archives"), draft.join("tree"));
        for directory in [&archives.join("partial"), &tree] {
            fs::create_dir_all(directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        let mut fetch = self.apt_get()?;
        fetch
            .args(["install", "--download-only", "--no-install-recommends"])
            .arg("-o")
            .arg(format!("Dir::Cache::archives={}", archives.display()))
            .args(DOWNLOAD_AS_CALLER)
            .arg(package);
        stdout_of(&mut fetch).with_context(|| format!("cannot fetch {package}"))?;
        let entries = fs::read_dir(&archives)
            .with_context(|| format!("cannot read {}", archives.display()))?;
        for entry in entries {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "deb") {
                let mut unpack = Command::new("dpkg-deb");
                stdout_of(unpack.arg("--extract").arg(&file).arg(&tree))?;
            }
        }
        fs::rename(&tree, into).with_context(|| format!("cannot write {}", into.display()))?;
        fs::remove_dir_all(&draft).with_context(|| format!("cannot remove {}", draft.display()))
    }

    /// Fetches the package lists, once. A machine whose mirror cannot be reached may still have
    /// what we need.
    fn update(&self) {
        if UPDATED.swap(true, Ordering::Relaxed) {
            return;
        }
        announce("apt: updating the package lists");
        let updated = self
            .apt_get()
            .and_then(|mut command| stdout_of(command.arg("update")));
        if let Err(error) = updated {
            announce(format_args!("apt: going on with the old lists: {error:#}"));
        }
    }

    fn apt_get(&self) -> Result<Command> {
        // `env` sets the variables behind sudo, which hands none on.
        let Some(mut command) = self.privilege.unattended("env") else {
            bail!("apt needs root, or a sudo that asks no password");
        };
        command
            .args([
                "LC_ALL=C",
                "DEBIAN_FRONTEND=noninteractive",
                "DEBIAN_PRIORITY=critical",
                "NEEDRESTART_SUSPEND=1",
                "apt-get",
                "-qq",
                "-y",
            ])
            .args(["-o", "Dpkg::Use-Pty=0"])
            .args(["-o", "Dpkg::Options::=--force-confold"])
            // Another apt may be at work: a fresh machine runs one after boot.
            .args(["-o", "DPkg::Lock::Timeout=120"])
            .stdin(Stdio::null());
        Ok(command)
    }
}

fn candidate_in(policy: &str) -> Option<String> {
    let line = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate:"))?;
    let version = line.trim();
    (version != "(none)").then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::candidate_in;

    #[test]
    fn reads_the_candidate_from_a_policy() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1~deb12u2\n  Version table:\n";
        assert_eq!(
            candidate_in(policy).as_deref(),
            Some("1.96.0+dfsg1-1~deb12u2")
        );
    }

    #[test]
    fn a_package_without_candidate_or_unknown_to_apt_has_none() {
        assert_eq!(
            candidate_in("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(candidate_in(""), None);
    }
}
