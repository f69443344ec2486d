//! The checkout: its directories, its test targets, and cargo for it.

use std::{
    collections::BTreeSet,
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

    /// Returns the names of the packages that are published.
    pub fn published(&self) -> impl Iterator<Item = &str> {
        let packages = self.packages.iter();
        let published = packages.filter(|package| package.publish.is_none());
        published.map(|package| package.name.as_str())
    }

    /// The packages without which `package` cannot be compiled.
    #[cfg(test)]
    pub fn required_dependencies(&self, package: &str) -> Vec<&str> {
        let mut packages = self.packages.iter();
        let package = packages.find(|candidate| candidate.name == package);
        let dependencies = package
            .into_iter()
            .flat_map(|package| &package.dependencies);
        let required = dependencies.filter(|dependency| !dependency.optional);
        required.map(|dependency| &*dependency.name).collect()
    }

    /// Returns the version of a package of this workspace.
    pub fn version(&self, name: &str) -> Result<String> {
        let mut packages = self.packages.iter();
        let package = packages.find(|package| package.name == name);
        let package = package.with_context(|| format!("no package of this workspace: {name}"))?;
        Ok(package.version.to_string())
    }

    /// What asks cargo about all dependencies.
    pub fn metadata(&self) -> MetadataCommand {
        let mut command = MetadataCommand::new();
        command
            .cargo_path(&self.cargo)
            .manifest_path(self.root.join("Cargo.toml"));
        command
    }

    /// The cargo that runs us, for its own toolchain, with the user's environment: without the
    /// variables that `cargo run` has set about xtask.
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

    /// The directories that hold the sources of other packages: cargo's registries, or where they
    /// are vendored. cargo fetches what is missing.
    pub fn directories_of_dependencies(&self) -> Result<BTreeSet<PathBuf>> {
        let metadata = MetadataCommand::new()
            .cargo_path(&self.cargo)
            .manifest_path(self.root.join("Cargo.toml"))
            .other_options(["--locked".to_owned()])
            .exec()
            .context("cannot read `cargo metadata`")?;
        let packages = metadata.packages.iter();
        let foreign = packages.filter(|package| package.source.is_some());
        let directories = foreign.filter_map(|package| package.manifest_path.ancestors().nth(2));
        Ok(directories
            .map(|path| path.as_std_path().to_owned())
            .collect())
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
    fn what_is_published_has_all_that_a_registry_shows() {
        let workspace = Workspace::find().unwrap();
        let mut published: Vec<_> = workspace.published().collect();
        published.sort_unstable();
        assert_eq!(
            published,
            [
                "tcpclose",
                "tcpclose-common",
                "tcpclose-core",
                "tcpclose-sys"
            ]
        );
        for package in &workspace.packages {
            if !published.contains(&package.name.as_str()) {
                continue;
            }
            let name = &package.name;
            assert!(package.description.is_some(), "{name}: description");
            assert!(
                (1..=5).contains(&package.keywords.len()),
                "{name}: keywords"
            );
            assert!(
                (1..=5).contains(&package.categories.len()),
                "{name}: categories"
            );
            assert!(
                package.readme().is_some_and(|readme| readme.exists()),
                "{name}: readme"
            );
            let license = package.license.as_deref().unwrap_or_default();
            for (word, file) in [
                ("MIT", "LICENSE-MIT"),
                ("Apache-2.0", "LICENSE-APACHE"),
                ("GPL-2.0-only", "LICENSE-GPL2"),
            ] {
                let text = package.manifest_path.with_file_name(file);
                assert_eq!(license.contains(word), text.exists(), "{name}: {file}");
            }
            // What is compiled in is covered by its own licence.
            let has_programs = package.manifest_path.with_file_name("ebpf").exists();
            assert_eq!(
                license.contains("GPL-2.0-only"),
                has_programs,
                "{name}: {license}"
            );
        }
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
