//! The object that goes into the program: the one that is kept in the tree, where it fits its
//! sources, or one that is compiled.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    kept_object::{self, INFO_FILE, OBJECT, ObjectInfo},
    sources::{hash, hash_of_sources},
    toolchain::{Ebpf, target_directory},
};
use crate::{
    command::{Failed, announce},
    workspace::Workspace,
};

/// Names the object that tracer-sys/build puts into the crate, in place of the kept one.
pub const OBJECT_VARIABLE: &str = "TCPCLOSE_EBPF_OBJECT";

/// The object for one build.
pub enum EbpfObject {
    /// The one in the tree.
    Kept(PathBuf),
    /// One below target/.
    Compiled(PathBuf),
}

impl EbpfObject {
    /// Takes the kept one, or compiles one where that does not fit.
    pub fn provide(workspace: &Workspace) -> Result<Self> {
        if cfg!(target_endian = "big") {
            return Self::compile(workspace);
        }
        let package = package_in(workspace);
        match kept_object::read(&package) {
            Ok(_) => Ok(Self::Kept(package.join(OBJECT))),
            Err(misfit) => {
                announce(misfit);
                Self::compile(workspace)
            }
        }
    }

    /// Compiles one.
    pub fn compile(workspace: &Workspace) -> Result<Self> {
        let bytes = Ebpf::prepare(workspace)?.compile(workspace)?;
        let path = compiled_in(workspace);
        write_if_different(&path, &bytes)?;
        Ok(Self::Compiled(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::Kept(path) | Self::Compiled(path) => path,
        }
    }

    /// Has `cargo` take it. Each step of a build must take the same, or each would compile tcpclose
    /// again.
    pub fn hand_to<'a>(&self, cargo: &'a mut Command) -> &'a mut Command {
        match self {
            // As for plain `cargo build`, which then compiles nothing again.
            Self::Kept(_) => cargo.env_remove(OBJECT_VARIABLE),
            Self::Compiled(path) => cargo.env(OBJECT_VARIABLE, path),
        }
    }
}

/// Compiles the programs and keeps them in the tree.
pub fn keep(workspace: &Workspace) -> Result<()> {
    let ebpf = Ebpf::prepare(workspace)?;
    let bytes = ebpf.compile(workspace)?;
    let info = ObjectInfo {
        compiler: ebpf.identity(),
        sources: hash_of_sources(&workspace.root)?,
        object: hash(&bytes),
    };
    let package = package_in(workspace);
    if let Ok(before) = kept_object::read_info(&package)
        && before.compiler != info.compiler
    {
        announce(format_args!(
            "eBPF programs: the object has another compiler now: {}, and before {}",
            info.compiler, before.compiler
        ));
    }
    let path = package.join(OBJECT);
    write_if_different(&path, &bytes)?;
    write_if_different(&package.join(INFO_FILE), info.to_string().as_bytes())?;
    announce(format_args!(
        "eBPF programs: {} bytes in {}",
        bytes.len(),
        path.display()
    ));
    Ok(())
}

/// Compiles the programs with the compiler of the kept object and returns whether the same bytes
/// come out; `None`, and reported, where that compiler cannot be had.
pub fn compare(workspace: &Workspace) -> Result<Option<bool>> {
    let package = package_in(workspace);
    let to_mend = |misfit| anyhow!("{misfit}: run `cargo xtask ebpf` and commit what it writes");
    let kept = kept_object::read(&package).map_err(to_mend)?;
    let info = kept_object::read_info(&package).map_err(to_mend)?;
    let ebpf = match Ebpf::prepare_exactly(workspace, &info.compiler) {
        Ok(ebpf) => ebpf,
        Err(error) if error.is::<Failed>() => return Err(error),
        Err(error) => {
            announce(format_args!(
                "the kept eBPF object cannot be compared: that needs {}: {error:#}",
                info.compiler
            ));
            return Ok(None);
        }
    };
    let made = ebpf.compile(workspace)?;
    if made == kept {
        return Ok(Some(true));
    }
    let path = compiled_in(workspace);
    write_if_different(&path, &made)?;
    announce(format_args!(
        "the kept eBPF object is not what its sources become, which is {}: run `cargo xtask ebpf` and commit what it writes",
        path.display()
    ));
    Ok(Some(false))
}

fn compiled_in(workspace: &Workspace) -> PathBuf {
    target_directory(workspace).join("tcpclose.o")
}

/// Where the crate is that carries the object.
fn package_in(workspace: &Workspace) -> PathBuf {
    workspace.root.join("tracer-sys")
}

/// Writes a file, whose time changes only with its bytes: the program is rebuilt by that time.
fn write_if_different(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_with_the_same_bytes_keeps_its_time() {
        let directory = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("object");
        let modified = || fs::metadata(&file).unwrap().modified().unwrap();
        write_if_different(&file, b"one").unwrap();
        let first = modified();
        write_if_different(&file, b"one").unwrap();
        assert_eq!(modified(), first);
        write_if_different(&file, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        fs::remove_dir_all(&directory).unwrap();
    }
}
