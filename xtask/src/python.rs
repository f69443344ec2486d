//! Virtual environments of Python, for tools that only PyPI has.

use std::{ffi::OsStr, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    command::{run, succeeds},
    privilege::Privilege,
};

/// Makes a virtual environment. Debian has what that takes in a package of its own.
pub fn make_environment(environment: &Path) -> Result<()> {
    let make = || {
        let mut python = Command::new("python3");
        succeeds(python.args(["-m", "venv"]).arg(environment))
    };
    if make() {
        return Ok(());
    }
    let apt = Apt::find(Privilege::detect()).map_err(anyhow::Error::msg)?;
    apt.install(&["python3-venv"])?;
    if !make() {
        bail!("python3 -m venv {} fails", environment.display());
    }
    Ok(())
}

/// Runs pip in a virtual environment.
pub fn pip<S: AsRef<OsStr>>(
    environment: &Path,
    args: impl IntoIterator<Item = S>,
    what: &str,
) -> Result<()> {
    let mut pip = Command::new(environment.join("bin/python3"));
    pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    run(pip.args(args), what)
}
