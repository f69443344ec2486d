//! Hands the compiled eBPF programs to the crate: the object that is kept in the tree, if it fits
//! its sources, or the one that `TCPCLOSE_EBPF_OBJECT` names.

#![expect(clippy::print_stdout, reason = "build scripts talk to cargo on stdout")]

mod kept_object;
mod sources;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use sources::{LOCK, MANIFEST, SOURCES};

const OBJECT_VARIABLE: &str = "TCPCLOSE_EBPF_OBJECT";

fn main() {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    if let Err(reason) = provide() {
        println!("cargo::error={reason}");
    }
}

/// Copies the object to OUT_DIR, so that the crate's sources name no path outside of it. The error
/// is a sentence.
fn provide() -> Result<(), String> {
    let bytes = match env::var_os(OBJECT_VARIABLE).filter(|object| !object.is_empty()) {
        Some(object) => read_named_object(Path::new(&object))?,
        None => read_kept_object(&directory("CARGO_MANIFEST_DIR")?)?,
    };
    let copy = directory("OUT_DIR")?.join("tcpclose.o");
    fs::write(&copy, bytes).map_err(|error| format!("cannot write {}: {error}", copy.display()))
}

fn directory(variable: &str) -> Result<PathBuf, String> {
    let value = env::var_os(variable);
    value
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo sets {variable} for build scripts, and did not"))
}

fn read_named_object(object: &Path) -> Result<Vec<u8>, String> {
    println!("cargo::rerun-if-changed={}", object.display());
    fs::read(object).map_err(|error| {
        format!(
            "cannot read {}, which {OBJECT_VARIABLE} names: {error}; unset {OBJECT_VARIABLE} for the object that is kept in the tree",
            object.display()
        )
    })
}

fn read_kept_object(package: &Path) -> Result<Vec<u8>, String> {
    if env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() != Ok("little") {
        return Err(
            "the kept eBPF object is for little-endian machines: run `cargo xtask build`, which compiles another".into(),
        );
    }
    println!("cargo::rerun-if-changed=ebpf");
    if kept_object::checkout_of(package).is_some() {
        for name in SOURCES.iter().chain(&[MANIFEST, LOCK]) {
            println!("cargo::rerun-if-changed=../{name}");
        }
    }
    kept_object::read(package).map_err(|misfit| {
        format!(
            "{misfit}: run `cargo xtask ebpf`, which compiles the eBPF programs and keeps the object"
        )
    })
}
