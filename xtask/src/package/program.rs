//! The program for packages: linked with everything that it needs, so that no host's libraries
//! matter.

use std::path::PathBuf;

use anyhow::Result;

use crate::{
    arch::Arch,
    command::{announce, run},
    ebpf::EbpfObject,
    registries, static_target,
    workspace::Workspace,
};

/// Builds the program for an architecture and returns its path.
///
/// It is linked with glibc, not musl, whose allocator and memcpy make it take twice the CPU time.
/// Its bytes do not depend on where the checkout and cargo's registry are.
pub fn build(workspace: &Workspace, arch: Arch) -> Result<PathBuf> {
    static_target::provide(workspace, arch)?;
    announce(format_args!(
        "tcpclose: compiling the static program for {} (minutes)",
        arch.name()
    ));
    let mut cargo = workspace.cargo();
    cargo.args(["build", "--release", "--package", "tcpclose", "--locked"]);
    static_target::select(&mut cargo, arch, &independent_of_folders(workspace)?);
    EbpfObject::provide(workspace)?.hand_to(&mut cargo);
    run(&mut cargo, "compiling the static tcpclose")?;
    Ok(static_target::directory(workspace, arch).join("release/tcpclose"))
}

/// The flags for rustc without which the program would have the names of folders of this host.
fn independent_of_folders(workspace: &Workspace) -> Result<Vec<String>> {
    let mut flags = vec![format!(
        "--remap-path-prefix={}=/build",
        workspace.root.display()
    )];
    let registries = registries::unpacked()?;
    flags.extend(
        registries
            .iter()
            .map(|folder| format!("--remap-path-prefix={}=/crates", folder.display())),
    );
    Ok(flags)
}
