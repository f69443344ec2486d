//! The checkout: its directories, its test targets, and cargo for it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::command::stdout_of;

/// The checkout that xtask belongs to.
pub struct Workspace {
    /// Where Cargo.toml is.
    pub root: PathBuf,
    /// Where everything that is built goes.
    pub target: PathBuf,
    /// The names of the test targets in `tests/` of all packages.
    pub test_targets: Vec<String>,
    cargo: OsString,
}

impl Workspace {
    /// Asks cargo, which knows CARGO_TARGET_DIR and its own configuration.
    pub fn find() -> Result<Self> {
        let here =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&here)
            .parent()
            .context("xtask's own directory has no parent")?;
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let metadata = stdout_of(
            Command::new(&cargo)
                .args(["metadata", "--no-deps", "--format-version=1"])
                .arg("--manifest-path")
                .arg(root.join("Cargo.toml")),
        )?;
        let metadata: Value =
            serde_json::from_str(&metadata).context("cannot read `cargo metadata`")?;
        let directory = |key: &str| {
            let path = metadata[key].as_str().map(PathBuf::from);
            path.with_context(|| format!("`cargo metadata` names no {key}"))
        };
        Ok(Self {
            root: directory("workspace_root")?,
            target: directory("target_directory")?,
            test_targets: test_targets_in(&metadata),
            cargo,
        })
    }

    /// The cargo that runs us, for its own toolchain, with the user's environment: what `cargo run` told *us* about
    /// our own package is taken out.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_about_our_package) {
                command.env_remove(name);
            }
        }
        command
            .env("CARGO_TARGET_DIR", &self.target)
            .current_dir(&self.root);
        command
    }

    /// Where the tools that the build needs are installed.
    pub fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}

fn is_about_our_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_")
        || matches!(
            variable,
            "CARGO_MANIFEST_DIR" | "CARGO_MANIFEST_PATH" | "CARGO_BIN_NAME" | "CARGO_CRATE_NAME"
        )
}

fn test_targets_in(metadata: &Value) -> Vec<String> {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let targets = packages.flat_map(|package| package["targets"].as_array().into_iter().flatten());
    targets
        .filter(|target| {
            let mut kinds = target["kind"].as_array().into_iter().flatten();
            kinds.any(|kind| kind == "test")
        })
        .filter_map(|target| target["name"].as_str())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_test_targets_of_all_packages() {
        let metadata = serde_json::json!({"packages": [
            {"targets": [{"kind": ["lib"], "name": "tcpclose"}, {"kind": ["test"], "name": "integration"}]},
            {"targets": [{"kind": ["test"], "name": "layout"}, {"kind": ["custom-build"], "name": "build-script-build"}]},
        ]});
        assert_eq!(test_targets_in(&metadata), ["integration", "layout"]);
    }

    #[test]
    fn the_users_own_settings_stay() {
        assert!(is_about_our_package("CARGO_PKG_NAME"));
        assert!(is_about_our_package("CARGO_MANIFEST_DIR"));
        assert!(!is_about_our_package("CARGO_HOME"));
        assert!(!is_about_our_package("CARGO_BUILD_JOBS"));
    }
}
