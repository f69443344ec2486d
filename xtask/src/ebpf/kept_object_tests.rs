//! The kept object, and what is noticed of its sources.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use object::{Object as _, ObjectSection as _};

use super::{
    kept_object::{self, INFO_FILE, OBJECT, ObjectInfo, ObjectMismatch},
    sources::{hash, hash_of_sources},
};
use crate::{bpf_linker, workspace::Workspace};

const MANIFEST: &str = "[workspace.package]\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[workspace.dependencies]\n\
                        aya-ebpf = \"=0.2.1\"\naya-log-ebpf = \"=0.2.0\"\nserde = \"1\"\n";

const LOCK: &str = r#"version = 4

[[package]]
name = "aya-ebpf"
version = "0.2.1"
source = "registry+https://example.com/index"
checksum = "aaaa"
dependencies = [
 "syn 2.0.1",
]

[[package]]
name = "serde"
version = "1.0.1"
checksum = "bbbb"

[[package]]
name = "syn"
version = "2.0.1"
checksum = "cccc"

[[package]]
name = "syn"
version = "3.0.1"
checksum = "dddd"

[[package]]
name = "tcpclose-common"
version = "0.1.0"
dependencies = [
 "serde",
]

[[package]]
name = "tcpclose-ebpf"
version = "0.1.0"
dependencies = [
 "aya-ebpf",
 "tcpclose-common",
]
"#;

/// A checkout with an object that fits.
struct Checkout(PathBuf);

impl Checkout {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let checkout =
            Self(env::temp_dir().join(format!("xtask-checkout-{}-{number}", process::id())));
        checkout.write("Cargo.toml", MANIFEST);
        checkout.write("Cargo.lock", LOCK);
        checkout.write("tracer-common/Cargo.toml", "[package]\nname = \"common\"\n");
        checkout.write("tracer-common/src/lib.rs", "pub const ONE: u32 = 1;\n");
        checkout.write("tracer-ebpf/Cargo.toml", "[package]\nname = \"ebpf\"\n");
        checkout.write("tracer-ebpf/src/main.rs", "mod ring;\n\nfn main() {}\n");
        checkout.write("tracer-ebpf/src/ring.rs", "// Nothing.\n");
        checkout.keep("object");
        checkout
    }

    fn keep(&self, object: &str) {
        let note = ObjectInfo {
            compiler: "rustc 1.0.0".into(),
            sources: hash_of_sources(&self.0).unwrap(),
            object: hash(object.as_bytes()),
        };
        self.write(&format!("tracer-sys/{OBJECT}"), object);
        self.write(&format!("tracer-sys/{INFO_FILE}"), &note.to_string());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn replace(&self, name: &str, old: &str, new: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(old), "{name}: {old}");
        self.write(name, &text.replace(old, new));
    }

    fn read(&self) -> Result<Vec<u8>, ObjectMismatch> {
        kept_object::read(&self.path("tracer-sys"))
    }

    fn fits(&self) -> bool {
        match self.read() {
            Ok(_) => true,
            Err(ObjectMismatch::Sources) => false,
            Err(misfit) => panic!("{misfit}"),
        }
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn an_object_of_these_sources_is_taken() {
    let checkout = Checkout::new();
    assert_eq!(checkout.read().unwrap(), b"object");
}

#[test]
fn each_change_of_what_is_compiled_is_noticed() {
    for (file, old, new) in [
        ("tracer-ebpf/src/main.rs", "fn main() {}", "fn main() { }"),
        ("tracer-ebpf/src/ring.rs", "Nothing", "nothing"),
        ("tracer-common/src/lib.rs", "1;", "2;"),
        ("tracer-ebpf/Cargo.toml", "ebpf", "kernel"),
        ("tracer-common/Cargo.toml", "common", "shared"),
        ("Cargo.toml", "=0.2.1", "=0.2.2"),
        ("Cargo.toml", "2024", "2027"),
        ("Cargo.lock", "aaaa", "eeee"),
        ("Cargo.lock", "syn 2.0.1", "syn 3.0.1"),
    ] {
        let checkout = Checkout::new();
        checkout.replace(file, old, new);
        assert!(!checkout.fits(), "{file}: {new}");
    }
}

#[test]
fn a_source_that_is_added_renamed_or_removed_is_noticed() {
    let checkout = Checkout::new();
    checkout.write("tracer-ebpf/src/deep/new.rs", "");
    assert!(!checkout.fits());
    fs::remove_dir_all(checkout.path("tracer-ebpf/src/deep")).unwrap();
    assert!(checkout.fits());

    let (old, new) = ("tracer-ebpf/src/ring.rs", "tracer-ebpf/src/rung.rs");
    fs::rename(checkout.path(old), checkout.path(new)).unwrap();
    assert!(!checkout.fits());
    fs::remove_file(checkout.path(new)).unwrap();
    assert!(!checkout.fits());
}

#[test]
fn what_does_not_reach_the_compiler_makes_no_difference() {
    let checkout = Checkout::new();
    checkout.write("tracer-ebpf/src/main.rs~", "of an editor");
    checkout.write("tracer-ebpf/src/.#main.rs", "of another one");
    checkout.write("tracer-ebpf/README.md", "text");
    checkout.write("tracer-core/src/lib.rs", "pub fn f() {}\n");
    checkout.replace("Cargo.toml", "serde = \"1\"", "serde = \"2\"");
    checkout.replace("Cargo.lock", "bbbb", "eeee");
    checkout.replace("Cargo.lock", "dddd", "eeee");
    assert!(checkout.fits());
}

#[test]
fn lines_may_end_as_on_windows() {
    let checkout = Checkout::new();
    for file in [
        "Cargo.lock",
        "Cargo.toml",
        "tracer-ebpf/src/main.rs",
        "tracer-common/Cargo.toml",
    ] {
        checkout.replace(file, "\n", "\r\n");
    }
    assert!(checkout.fits());
}

#[test]
fn an_object_that_is_not_the_one_in_the_note_is_refused() {
    let checkout = Checkout::new();
    checkout.write(&format!("tracer-sys/{OBJECT}"), "object of another branch");
    assert!(matches!(checkout.read(), Err(ObjectMismatch::Object)));
    checkout.write(&format!("tracer-sys/{INFO_FILE}"), "<<<<<<< HEAD\n");
    assert!(matches!(checkout.read(), Err(ObjectMismatch::Info)));
    fs::remove_file(checkout.path("tracer-sys").join(OBJECT)).unwrap();
    assert!(matches!(
        checkout.read(),
        Err(ObjectMismatch::Unreadable(OBJECT, _))
    ));
}

#[test]
fn a_published_crate_has_no_sources_to_compare() {
    let checkout = Checkout::new();
    for sources in ["tracer-ebpf", "tracer-common"] {
        fs::remove_dir_all(checkout.path(sources)).unwrap();
    }
    assert_eq!(checkout.read().unwrap(), b"object");
    checkout.write(&format!("tracer-sys/{OBJECT}"), "damaged");
    assert!(matches!(checkout.read(), Err(ObjectMismatch::Object)));
}

#[test]
fn a_checkout_that_lacks_a_part_of_the_sources_is_not_a_published_crate() {
    let checkout = Checkout::new();
    fs::remove_dir_all(checkout.path("tracer-common")).unwrap();
    assert!(matches!(
        checkout.read(),
        Err(ObjectMismatch::UnreadableSources(_))
    ));
}

fn this_package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tracer-sys")
}

#[test]
fn the_kept_object_fits_the_sources_of_this_checkout() {
    kept_object::read(&this_package()).unwrap();
}

#[test]
fn the_kept_object_was_linked_with_the_linker_that_is_installed() {
    let note = kept_object::read_info(&this_package()).unwrap();
    assert!(note.compiler.ends_with(&bpf_linker::identity()), "{note}");
}

#[test]
fn the_kept_object_has_btf_and_names_no_directory_of_the_machine_that_compiled_it() {
    let bytes = fs::read(this_package().join(OBJECT)).unwrap();
    let elf = object::File::parse(&*bytes).unwrap();
    let sections: Vec<_> = elf
        .sections()
        .map(|section| section.name().unwrap().to_owned())
        .collect();
    for name in [".BTF", ".BTF.ext", "maps", "license"] {
        assert!(
            sections.iter().any(|section| section == name),
            "{name}: {sections:?}"
        );
    }
    assert!(
        !sections.iter().any(|section| section.contains(".debug_")),
        "{sections:?}"
    );
    let text = String::from_utf8_lossy(&bytes);
    for name in [
        "/home/",
        "/root/",
        ".cargo",
        "index.crates.io",
        env!("CARGO_MANIFEST_DIR"),
    ] {
        assert!(!text.contains(name), "{name}");
    }
}

#[test]
fn the_kernel_side_of_the_shared_records_has_no_dependencies() {
    let workspace = Workspace::find().unwrap();
    let needed = workspace.required_dependencies("tcpclose-common");
    // hash_of_sources leaves out what the lock file says of those.
    assert!(needed.is_empty(), "{needed:?}");
}
