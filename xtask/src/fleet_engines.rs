//! ClickHouse and DuckDB, which the tests of a fleet's queries need. Debian has neither; PyPI has
//! both as modules of Python. They are installed once, below target/tools, as the versions and
//! hashes in testing/fleet/engines.txt say.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{command::announce, python, workspace::Workspace};

/// The stage whose tests need them.
const STAGE: &str = "fleet";

/// The program that runs Python with both modules.
const PROGRAM: &str = "fleet-engines";

/// Installs both for the tests of a stage, where they are missing. What cannot be installed is
/// reported, and is an error where it is `required`.
pub fn provide(workspace: &Workspace, stage: &str, required: bool) -> Result<()> {
    if stage != STAGE {
        return Ok(());
    }
    let engines = Engines {
        requirements: workspace.root.join("testing/fleet/engines.txt"),
        environment: workspace.tools().join("fleet"),
        bin: workspace.tools().join("bin"),
    };
    if engines.are_here() {
        return Ok(());
    }
    python::check_installed(engines.install(), "ClickHouse and DuckDB", "", required)
}

struct Engines {
    requirements: PathBuf,
    environment: PathBuf,
    bin: PathBuf,
}

impl Engines {
    /// What was installed, once all of it is.
    fn installed(&self) -> PathBuf {
        self.environment.join("installed.txt")
    }

    fn are_here(&self) -> bool {
        let read = |path: &Path| fs::read(path).ok();
        let installed = read(&self.installed());
        installed.is_some() && installed == read(&self.requirements) && self.program().is_file()
    }

    fn program(&self) -> PathBuf {
        self.bin.join(PROGRAM)
    }

    fn install(&self) -> Result<()> {
        announce(format_args!(
            "installing ClickHouse and DuckDB below {} (half a minute, once)",
            self.environment.display()
        ));
        // Of a run that was stopped, or of other versions.
        let _ = fs::remove_dir_all(&self.environment);
        python::make_environment(&self.environment)?;
        let args = [
            "install",
            "--require-hashes",
            "--no-deps",
            "--no-cache-dir",
            "--only-binary=:all:",
            "--requirement",
        ];
        let requirements = self.requirements.as_os_str();
        let args = args.into_iter().map(AsRef::as_ref).chain([requirements]);
        python::pip(&self.environment, args, "installing ClickHouse and DuckDB")?;
        let bin = self.bin.display();
        fs::create_dir_all(&self.bin).with_context(|| format!("cannot make {bin}"))?;
        // A link would start Python without its environment.
        let python = self.environment.join("bin/python3");
        let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", python.display());
        let program = self.program();
        fs::write(&program, script)
            .and_then(|()| fs::set_permissions(&program, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot make {}", program.display()))?;
        fs::copy(&self.requirements, self.installed())?;
        Ok(())
    }
}
