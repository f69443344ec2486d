//! Programs from crates.io that building and testing need, each installed once, below target/tools.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{announce, run, stdout_of},
    workspace::Workspace,
};

/// One of them.
pub struct Tool {
    /// The crate, and its program.
    pub name: &'static str,
    /// The version that is wanted, and no other.
    pub version: &'static str,
    /// cargo's profile for it: "release", or "dev" where compiling it takes longer than its work.
    pub profile: &'static str,
}

impl Tool {
    /// Returns its program, which is installed where it is missing or of another version.
    pub fn find_or_install(&self, workspace: &Workspace) -> Result<PathBuf> {
        let tools = workspace.tools();
        let program = tools.join("bin").join(self.name);
        if !self.is(&program) {
            self.install(workspace, &tools)?;
        }
        Ok(program)
    }

    fn is(&self, program: &Path) -> bool {
        let mut version = Command::new(program);
        // Some of cargo's subcommands answer only as cargo calls them: with their name.
        version.args(self.name.strip_prefix("cargo-"));
        program.exists()
            && stdout_of(version.arg("--version"))
                .is_ok_and(|answer| answer.split_whitespace().last() == Some(self.version))
    }

    fn install(&self, workspace: &Workspace, tools: &Path) -> Result<()> {
        let Self {
            name,
            version,
            profile,
        } = self;
        announce(format_args!(
            "installing {name} {version} below {} (minutes, once)",
            tools.display()
        ));
        let build = tools.join("build").join(name);
        run(
            workspace
                .cargo()
                .args(["install", name, "--locked", "--quiet", "--force"])
                .args(["--version", version, "--profile", profile])
                .arg("--root")
                .arg(tools)
                .arg("--target-dir")
                .arg(&build)
                // For the user's own programs, not for this one.
                .env_remove("RUSTFLAGS")
                .env_remove("CARGO_ENCODED_RUSTFLAGS")
                .env_remove("CARGO_BUILD_TARGET")
                // Without debug information it compiles faster and is a tenth of the size.
                .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
                .env("CARGO_PROFILE_DEV_DEBUG", "false"),
            &format!("installing {name}"),
        )?;
        fs::remove_dir_all(&build).with_context(|| format!("cannot remove {}", build.display()))
    }
}
