//! Puts the eBPF object that `TCPCLOSE_EBPF_OBJECT` names into the crate, as `EBPF_OBJECT`.
//!
//! `cargo xtask build` compiles the object and sets the variable. Without it the crate still
//! builds, for work on everything that needs no kernel.

use std::{env, error::Error, fs, path::Path};

const VARIABLE: &str = "TCPCLOSE_EBPF_OBJECT";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed={VARIABLE}");

    let out_dir =
        env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR for build scripts, and did not")?;
    let out_dir = Path::new(&out_dir);
    let value = match env::var_os(VARIABLE).filter(|object| !object.is_empty()) {
        None => "None",
        Some(object) => {
            let object = Path::new(&object);
            println!("cargo::rerun-if-changed={}", object.display());
            // A copy, so that the crate's sources name no path outside OUT_DIR.
            let bytes = fs::read(object).map_err(|error| {
                format!(
                    "cannot read {}, which {VARIABLE} names: {error}; run `cargo xtask build`, or unset {VARIABLE}",
                    object.display()
                )
            })?;
            fs::write(out_dir.join("tcpclose-ebpf.o"), bytes)?;
            r#"Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpclose-ebpf.o")))"#
        }
    };
    fs::write(
        out_dir.join("ebpf_object.rs"),
        format!(
            "/// The compiled eBPF programs, or `None` where the crate was built without them\n\
             /// (`cargo xtask build` builds it with them).\n\
             pub const EBPF_OBJECT: Option<&[u8]> = {value};\n"
        ),
    )?;
    Ok(())
}
