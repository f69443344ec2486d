//! The compiler and the linker at work on the eBPF programs.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{
    sources::{PROFILE, RUSTFLAGS},
    strip::without_debug_info,
};
use crate::{
    bpf_linker::{self, BpfLinker},
    command::{announce, run, status},
    ebpf_compiler::{self, Core, EbpfCompiler, TARGET},
    workspace::Workspace,
};

/// The crates that may use unstable features with a compiler that is not a nightly: aya-ebpf wants
/// inline assembly for eBPF.
const UNSTABLE_CRATES: &str = "aya_ebpf";

/// Between the compiler and the linker, where both are named.
const SEPARATOR: &str = ", ";

/// The compiler and the linker for the eBPF programs.
pub struct Ebpf {
    compiler: EbpfCompiler,
    linker: BpfLinker,
}

impl Ebpf {
    /// Finds them, or installs them.
    pub fn prepare(workspace: &Workspace) -> Result<Self> {
        Self::with(workspace, ebpf_compiler::find_or_install(workspace)?)
    }

    /// Finds or installs those with this [identity](Self::identity), and no others.
    pub fn prepare_exactly(workspace: &Workspace, identity: &str) -> Result<Self> {
        let linker = bpf_linker::identity();
        let compiler = identity
            .strip_suffix(&linker)
            .and_then(|rest| rest.strip_suffix(SEPARATOR))
            .with_context(|| format!("{linker} is the linker here"))?;
        Self::with(
            workspace,
            ebpf_compiler::find_or_install_exactly(workspace, compiler)?,
        )
    }

    fn with(workspace: &Workspace, compiler: EbpfCompiler) -> Result<Self> {
        let linker = bpf_linker::find_or_install(workspace, &compiler)?;
        Ok(Self { compiler, linker })
    }

    /// Returns the compiler.
    pub fn compiler(&self) -> &EbpfCompiler {
        &self.compiler
    }

    /// Returns the names and versions of all that decides what becomes of the sources.
    pub fn identity(&self) -> String {
        self.compiler.identity() + SEPARATOR + &bpf_linker::identity()
    }

    /// Compiles the eBPF programs and returns the object, with BTF and without debug information.
    pub fn compile(&self, workspace: &Workspace) -> Result<Vec<u8>> {
        announce("eBPF programs: compiling");
        let mut cargo = self.cargo(workspace)?;
        cargo.arg("build");
        self.add_arguments(&mut cargo, workspace);
        run(&mut cargo, "compiling the eBPF programs")?;

        let built = target_directory(workspace)
            .join(TARGET)
            .join("release/tcpclose-ebpf");
        let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        without_debug_info(&bytes).with_context(|| format!("cannot strip {}", built.display()))
    }

    /// Lints the eBPF programs with the compiler's own clippy. Returns whether it found nothing;
    /// `None` where the compiler has no clippy.
    pub fn lint(&self, workspace: &Workspace) -> Result<Option<bool>> {
        let Some(clippy) = &self.compiler.clippy else {
            return Ok(None);
        };
        let cargo = self.cargo(workspace)?;
        let mut command = Command::new(clippy);
        // cargo-clippy starts the cargo that CARGO names, with the clippy-driver beside itself.
        command
            .arg("clippy")
            .env("CARGO", cargo.get_program())
            .current_dir(&workspace.root);
        for (name, value) in cargo.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.add_arguments(&mut command, workspace);
        command.args(["--", "--deny", "warnings"]);
        Ok(Some(status(&mut command)?.success()))
    }

    /// cargo for the compiler, in an environment of its own: what the user or the outer cargo set
    /// for the host's compiler does not fit this one, and the object is to be the same wherever it
    /// is compiled.
    fn cargo(&self, workspace: &Workspace) -> Result<Command> {
        let Self { compiler, linker } = self;
        let mut command = workspace.cargo();
        if let Some(cargo) = &compiler.cargo {
            let mut own = Command::new(cargo);
            own.current_dir(&workspace.root);
            for (name, value) in command.get_envs() {
                match value {
                    Some(value) => own.env(name, value),
                    None => own.env_remove(name),
                };
            }
            command = own;
        }
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(is_for_the_hosts_compiler) {
                command.env_remove(name);
            }
        }
        command
            .env("RUSTC", &compiler.rustc)
            // Empty, not absent: a wrapper may also come from cargo's configuration.
            .env("RUSTC_WRAPPER", "")
            .env("RUSTC_WORKSPACE_WRAPPER", "")
            .env("LD_LIBRARY_PATH", &linker.llvm_directory)
            // Not among the flags, of which cargo makes names of symbols.
            .env(linker_variable(), &linker.program)
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                rustflags(&self.prefixes(workspace)?),
            );
        for (name, value) in PROFILE {
            command.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
        }
        match compiler.core {
            Core::Prebuilt => command.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES),
            Core::FromSource => command.env_remove("RUSTC_BOOTSTRAP"),
        };
        Ok(command)
    }

    /// The directories whose names must not reach the object, each with what stands there in its
    /// place.
    fn prefixes(&self, workspace: &Workspace) -> Result<Vec<(PathBuf, &'static str)>> {
        let mut prefixes = vec![(workspace.root.clone(), "/tcpclose")];
        let dependencies = workspace.directories_of_dependencies()?;
        prefixes.extend(dependencies.into_iter().map(|path| (path, "/crates")));
        if self.compiler.core == Core::FromSource {
            let sysroot = self.compiler.rustc.ancestors().nth(2);
            prefixes.extend(sysroot.map(|path| (path.to_owned(), "/rust")));
        }
        Ok(prefixes)
    }

    fn add_arguments(&self, cargo: &mut Command, workspace: &Workspace) {
        cargo
            .args(["--package", "tcpclose-ebpf", "--release"])
            .args(["--target", TARGET])
            .arg("--target-dir")
            .arg(target_directory(workspace));
        if self.compiler.core == Core::FromSource {
            cargo.args(["-Z", "build-std=core"]);
        }
    }
}

/// Where everything is that has to do with the programs.
pub fn target_directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("ebpf")
}

fn linker_variable() -> String {
    let target = TARGET.to_ascii_uppercase().replace('-', "_");
    format!("CARGO_TARGET_{target}_LINKER")
}

/// The flags for rustc, separated as cargo wants them, so that paths may hold spaces. Of several
/// prefixes that fit a path, rustc takes the last.
fn rustflags(prefixes: &[(PathBuf, &str)]) -> OsString {
    let mut flags: Vec<OsString> = RUSTFLAGS.iter().map(OsString::from).collect();
    for (path, name) in prefixes {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(path);
        flag.push("=");
        flag.push(name);
        flags.push(flag);
    }
    flags.join(OsStr::new("\u{1f}"))
}

fn is_for_the_hosts_compiler(variable: &str) -> bool {
    let prefixes = [
        "CARGO_BUILD_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_UNSTABLE_",
    ];
    prefixes.iter().any(|prefix| variable.starts_with(prefix)) && variable != "CARGO_BUILD_JOBS"
        || matches!(variable, "RUSTUP_TOOLCHAIN" | "RUSTFLAGS" | "RUSTC_LOG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_below_a_path_with_spaces_is_one_flag() {
        let flags = rustflags(&[(PathBuf::from("/home/a b/tcpclose"), "/tcpclose")]);
        let flags = flags.to_str().unwrap();
        assert!(
            flags
                .split('\u{1f}')
                .any(|flag| flag == "--remap-path-prefix=/home/a b/tcpclose=/tcpclose")
        );
    }

    #[test]
    fn settings_for_the_hosts_compiler_do_not_reach_the_ebpf_compiler() {
        for variable in [
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
            "CARGO_BUILD_TARGET",
            "CARGO_PROFILE_RELEASE_OPT_LEVEL",
            "CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER",
        ] {
            assert!(is_for_the_hosts_compiler(variable), "{variable}");
        }
        for variable in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_BUILD_JOBS",
            "PATH",
        ] {
            assert!(!is_for_the_hosts_compiler(variable), "{variable}");
        }
    }
}
