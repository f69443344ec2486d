//! What making packages takes from this host: archives, sums, git, and the time that everything
//! bears.

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    command::{run, stdout_of},
    workspace::Workspace,
};

/// The time that all files bear, in seconds since 1970: SOURCE_DATE_EPOCH, or when the checked-out
/// commit was made.
#[derive(Clone, Copy, Debug)]
pub struct Epoch(pub u64);

impl Epoch {
    /// Finds it.
    pub fn find(workspace: &Workspace) -> Result<Self> {
        let text = match env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => text,
            Err(_) => git(workspace, &["log", "-1", "--format=%ct"])
                .context("this is no git checkout: set SOURCE_DATE_EPOCH to the release's time")?,
        };
        let seconds = text.trim().parse();
        let seconds = seconds.with_context(|| {
            format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds since 1970")
        })?;
        Ok(Self(seconds))
    }

    /// Writes it as `date` does for a format such as `%F`.
    pub fn format(self, format: &str) -> Result<String> {
        let mut date = Command::new("date");
        date.args(["--utc", "--date"])
            .arg(format!("@{}", self.0))
            .arg(format!("+{format}"))
            .env("LC_ALL", "C");
        Ok(stdout_of(&mut date)?.trim().to_owned())
    }
}

/// What git says about the checkout; an error where it is none.
pub fn git(workspace: &Workspace, args: &[&str]) -> Result<String> {
    let mut git = Command::new("git");
    git.args(args).current_dir(&workspace.root);
    Ok(stdout_of(&mut git)?.trim().to_owned())
}

/// Copies the checkout as it is now, without what cargo and git keep in it.
pub fn copy_sources(workspace: &Workspace, copy: &Path) -> Result<()> {
    let script = "tar --create --exclude=./.git --exclude=\"./$2\" . \
                  | tar --extract --directory=\"$1\"";
    let target = workspace.target.strip_prefix(&workspace.root);
    run(
        Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(copy)
            .arg(target.unwrap_or(Path::new("target")))
            .current_dir(&workspace.root),
        "copying the checkout",
    )
}

/// Writes an archive of a folder's contents: sorted, owned by root, with one time everywhere.
pub fn tar(folder: &Path, names: &[&str], archive: &Path, epoch: Epoch) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.args(["--create", "--sort=name", "--format=gnu"])
        .args(["--owner=0", "--group=0", "--numeric-owner"])
        .arg(format!("--mtime=@{}", epoch.0))
        .arg("--file")
        .arg(archive)
        .arg("--directory")
        .arg(folder)
        .args(names)
        .env("LC_ALL", "C");
    stdout_of(&mut tar).with_context(|| format!("cannot write {}", archive.display()))?;
    Ok(())
}

/// Compresses a file into a new one, without its name and time.
pub fn gzip(from: &Path, to: &Path) -> Result<()> {
    let input = fs::File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let output = fs::File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    let status = Command::new("gzip")
        .args(["-9", "--no-name", "--stdout"])
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .status()
        .context("cannot start `gzip`")?;
    if !status.success() {
        bail!("gzip could not write {}", to.display());
    }
    Ok(())
}

/// Returns the SHA-256 of a file in hexadecimal digits.
pub fn sha256(file: &Path) -> Result<String> {
    // From stdin: no name of the file is in the answer, whatever it is.
    let input = fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?;
    let output = Command::new("sha256sum")
        .stdin(Stdio::from(input))
        .output()
        .context("cannot start `sha256sum`")?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    match answer.split_whitespace().next() {
        Some(sum) if sum.len() == 64 => Ok(sum.to_owned()),
        _ => bail!("sha256sum gave no sum for {}", file.display()),
    }
}
