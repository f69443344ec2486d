//! Virtual environments of Python, for tools that only PyPI has.

use std::{ffi::OsStr, path::Path, process::Command};

use anyhow::{Result, bail};

use crate::{
    apt::Apt,
    command::{announce, run, succeeds},
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

/// Passes on whether `tools`, which tests need, were installed: what failed is reported, and is an
/// error where they are `required`. `instead` is what helps without an installation.
pub fn check_installed(
    installed: Result<()>,
    tools: &str,
    instead: &str,
    required: bool,
) -> Result<()> {
    let Err(error) = installed else {
        return Ok(());
    };
    if required {
        return Err(error.context(format!(
            "the tests need {tools}, which could not be installed; {instead}unset CI to skip the tests that need them"
        )));
    }
    announce(format_args!(
        "skipping the tests that need {tools}, which could not be installed: {error:#}"
    ));
    Ok(())
}
