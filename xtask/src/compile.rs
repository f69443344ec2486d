//! The eBPF object, and the program that carries it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::{
    bpf_linker::{self, BpfLinker},
    command::{announce, run, status},
    ebpf_compiler::{self, Core, EbpfCompiler, TARGET},
    workspace::Workspace,
};

/// Tells tracer/build.rs which object to put into the program.
pub const OBJECT_VARIABLE: &str = "TCPCLOSE_EBPF_OBJECT";

/// The crates that may use unstable features with a compiler that is not a nightly: aya-ebpf wants inline assembly
/// for eBPF.
const UNSTABLE_CRATES: &str = "aya_ebpf";

/// Builds the program and returns its path.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    let object = Ebpf::prepare(workspace)?.compile(workspace)?;
    announce("tcpclose: compiling the program");
    build_release(workspace, &object)?;
    let program = program(workspace);
    announce(format_args!("tcpclose is {}", program.display()));
    Ok(program)
}

/// Builds the program with this eBPF object; see [`program`].
pub fn build_release(workspace: &Workspace, object: &Path) -> Result<()> {
    run(
        release(workspace, object).args(["--package", "tcpclose"]),
        "compiling tcpclose",
    )
}

/// Builds the program, and the benches of the core with the same optimisation.
pub fn build_with_benches(workspace: &Workspace, object: &Path) -> Result<()> {
    run(
        release(workspace, object)
            .args(["--package", "tcpclose", "--package", "tcpclose-bench"])
            .args(["--bins", "--quiet"]),
        "compiling tcpclose and its benches",
    )
}

fn release(workspace: &Workspace, object: &Path) -> Command {
    let mut cargo = workspace.cargo();
    cargo
        .args(["build", "--release"])
        .env(OBJECT_VARIABLE, object);
    cargo
}

/// Returns the path of the program. It is there once it has been built.
pub fn program(workspace: &Workspace) -> PathBuf {
    workspace.target.join("release/tcpclose")
}

/// The compiler and the linker for the eBPF programs.
pub struct Ebpf {
    compiler: EbpfCompiler,
    linker: BpfLinker,
}

impl Ebpf {
    /// Finds them, or installs them.
    pub fn prepare(workspace: &Workspace) -> Result<Self> {
        let compiler = ebpf_compiler::find_or_install(workspace)?;
        let linker = bpf_linker::find_or_install(workspace, &compiler)?;
        Ok(Self { compiler, linker })
    }

    /// Returns the compiler.
    pub fn compiler(&self) -> &EbpfCompiler {
        &self.compiler
    }

    /// Compiles the eBPF programs and returns the object's path.
    pub fn compile(&self, workspace: &Workspace) -> Result<PathBuf> {
        announce("eBPF programs: compiling");
        let directory = target_directory(workspace);
        let mut cargo = self.cargo(workspace);
        cargo.arg("build");
        self.add_arguments(&mut cargo, workspace);
        run(&mut cargo, "compiling the eBPF programs")?;

        let built = directory.join(TARGET).join("release/tcpclose-ebpf");
        let object = object(workspace);
        copy_if_different(&built, &object)?;
        Ok(object)
    }

    /// Lints the eBPF programs with the compiler's own clippy. Returns whether it found nothing; `None` where the
    /// compiler has no clippy.
    pub fn lint(&self, workspace: &Workspace) -> Result<Option<bool>> {
        let Some(clippy) = &self.compiler.clippy else {
            return Ok(None);
        };
        let cargo = self.cargo(workspace);
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

    /// cargo for the compiler, in an environment of its own: what the user or the outer cargo set for the host's
    /// compiler does not fit this one.
    fn cargo(&self, workspace: &Workspace) -> Command {
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
            .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&linker.program))
            // The host's program wants these otherwise: see the workspace's release profile.
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_STRIP", "none");
        match compiler.core {
            Core::Prebuilt => command.env("RUSTC_BOOTSTRAP", UNSTABLE_CRATES),
            Core::FromSource => command.env_remove("RUSTC_BOOTSTRAP"),
        };
        command
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

/// Returns the path of the eBPF object. It is there once it has been compiled.
pub fn object(workspace: &Workspace) -> PathBuf {
    target_directory(workspace).join("tcpclose-ebpf.o")
}

fn target_directory(workspace: &Workspace) -> PathBuf {
    workspace.target.join("ebpf")
}

/// The flags for rustc, separated as cargo wants them, so that paths may hold spaces.
fn rustflags(linker: &Path) -> String {
    [
        &format!("-Clinker={}", linker.display()),
        // aya-ebpf's name for the machine whose kernel runs the programs.
        &format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
        "-Clink-arg=--btf",
        // BTF is made from it.
        "-Cdebuginfo=2",
    ]
    .join("\u{1f}")
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

/// Copies `from` to `to`, whose time changes only with its bytes: the program is rebuilt by that time.
fn copy_if_different(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linker_below_a_path_with_spaces_is_one_flag() {
        let flags = rustflags(Path::new("/home/a b/bpf-linker"));
        assert!(
            flags
                .split('\u{1f}')
                .any(|flag| flag == "-Clinker=/home/a b/bpf-linker")
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

    #[test]
    fn an_object_with_the_same_bytes_keeps_its_time() {
        let directory = env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (from, to) = (directory.join("from"), directory.join("to"));
        let modified = || fs::metadata(&to).unwrap().modified().unwrap();
        fs::write(&from, "one").unwrap();
        copy_if_different(&from, &to).unwrap();
        let first = modified();
        copy_if_different(&from, &to).unwrap();
        assert_eq!(modified(), first);
        fs::write(&from, "two").unwrap();
        copy_if_different(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"two");
        fs::remove_dir_all(&directory).unwrap();
    }
}
