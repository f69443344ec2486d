//! The checkout: its directories, its test targets, and cargo for it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{Metadata, MetadataCommand, Package, PackageId};

/// The checkout that xtask belongs to.
pub struct Workspace {
    /// Where Cargo.toml is.
    pub root: PathBuf,
    /// Where everything that is built goes.
    pub target: PathBuf,
    /// The test targets in `tests/` of all packages.
    pub test_targets: Vec<TestTarget>,
    packages: Vec<Package>,
    cargo: OsString,
}

/// A test target in `tests/` of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestTarget {
    /// The package's name.
    pub package: String,
    /// The target's name.
    pub name: String,
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
        let metadata = MetadataCommand::new()
            .cargo_path(&cargo)
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("cannot read `cargo metadata`")?;
        Ok(Self {
            test_targets: test_targets_in(&metadata),
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
            packages: metadata.packages,
            cargo,
        })
    }

    /// Returns a package of this workspace.
    pub fn package(&self, id: &PackageId) -> Result<&Package> {
        let mut packages = self.packages.iter();
        let package = packages.find(|package| package.id == *id);
        package.with_context(|| format!("no package of this workspace: {id}"))
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

fn test_targets_in(metadata: &Metadata) -> Vec<TestTarget> {
    let targets = metadata.packages.iter().flat_map(|package| {
        let tests = package.targets.iter().filter(|target| target.is_test());
        tests.map(|target| TestTarget {
            package: package.name.to_string(),
            name: target.name.clone(),
        })
    });
    targets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_test_targets_of_all_packages() {
        let workspace = Workspace::find().unwrap();
        let has = |package: &str, name: &str| {
            let mut targets = workspace.test_targets.iter();
            targets.any(|target| target.package == package && target.name == name)
        };
        assert!(has("tcpclose", "integration"));
        assert!(has("tcpclose-core", "lifecycle"));
        assert!(!has("tcpclose", "tcpclose"), "a library is no test target");
    }

    #[test]
    fn the_workflow_builds_with_the_oldest_toolchain_that_is_supported() {
        let workflow = include_str!("../../.github/workflows/ci.yml");
        let toolchain = env!("CARGO_PKG_RUST_VERSION");
        assert!(workflow.contains(&format!("  TOOLCHAIN: \"{toolchain}\"\n")));
    }

    #[test]
    fn the_users_own_settings_stay() {
        assert!(is_about_our_package("CARGO_PKG_NAME"));
        assert!(is_about_our_package("CARGO_MANIFEST_DIR"));
        assert!(!is_about_our_package("CARGO_HOME"));
        assert!(!is_about_our_package("CARGO_BUILD_JOBS"));
    }
}
