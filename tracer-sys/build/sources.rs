//! What the eBPF programs are compiled from, and its hash. Shared by this crate's build script and
//! by xtask, which compiles.

use std::{fs, io, path::Path};

use sha2::{Digest as _, Sha256};

/// What the programs are compiled from, below the checkout: files, and directories with Rust files.
pub const SOURCES: &[&str] = &[
    "tracer-common/Cargo.toml",
    "tracer-common/src",
    "tracer-ebpf/Cargo.toml",
    "tracer-ebpf/src",
];
/// The manifest of the workspace, of which the lines of [`INHERITED_KEYS`] matter.
pub const MANIFEST: &str = "Cargo.toml";
/// The lock file, of which the programs' own dependencies matter.
pub const LOCK: &str = "Cargo.lock";

/// What the two manifests take from that of the workspace.
const INHERITED_KEYS: &[&str] = &["aya-ebpf", "aya-log-ebpf", "edition", "version"];
/// The package of the programs.
const EBPF_PACKAGE: &str = "tcpclose-ebpf";
/// A dependency of it that has none itself: what the lock file says of it is for user space only.
const COMMON_PACKAGE: &str = "tcpclose-common";

/// The flags for rustc, beside the linker and the prefixes of paths.
pub const RUSTFLAGS: &[&str] = &[
    // aya-ebpf's name for the machine whose kernel runs the programs. They read no registers, so
    // that one serves all.
    "--cfg=bpf_target_arch=\"x86_64\"",
    "-Clink-arg=--btf",
];
/// The profile, whatever that of the host's program is. BTF is made from the debug information.
pub const PROFILE: &[(&str, &str)] = &[
    ("CODEGEN_UNITS", "1"),
    ("DEBUG", "2"),
    ("DEBUG_ASSERTIONS", "false"),
    ("LTO", "off"),
    ("OPT_LEVEL", "3"),
    ("OVERFLOW_CHECKS", "false"),
    ("STRIP", "none"),
];

/// Returns the SHA-256 of `bytes`, in hexadecimal.
pub fn hash(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes).as_slice())
}

/// Returns the hash of all that decides what the compiler makes of the programs in the checkout
/// `root`. How lines end and in which order a file system lists files makes no difference.
pub fn hash_of_sources(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(root, source, &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    };
    for file in files {
        add(&file);
        add(&read(root, &file)?);
    }
    for line in inherited(&read(root, MANIFEST)?)? {
        add(&line);
    }
    for package in locked(&read(root, LOCK)?)? {
        add(&package);
    }
    for flag in RUSTFLAGS {
        add(flag);
    }
    for (name, value) in PROFILE {
        add(name);
        add(value);
    }
    Ok(hexadecimal(hash.finalize().as_slice()))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the file, or the directory's Rust files, to `files`. Editors and tests leave other files
/// there.
fn collect(root: &Path, name: &str, files: &mut Vec<String>) -> io::Result<()> {
    let path = root.join(name);
    if !path.is_dir() {
        files.push(name.to_owned());
        return Ok(());
    }
    let entries = fs::read_dir(&path).map_err(|error| about(name, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| about(name, &error))?;
        let file_name = entry.file_name();
        // No file of ours has such a name.
        let Some(file_name) = file_name.to_str() else {
            continue;
        };
        if entry.path().is_dir() || file_name.ends_with(".rs") && !file_name.starts_with('.') {
            collect(root, &format!("{name}/{file_name}"), files)?;
        }
    }
    Ok(())
}

/// Returns the text of a file, with lines as on Linux.
fn read(root: &Path, name: &str) -> io::Result<String> {
    let text = fs::read_to_string(root.join(name)).map_err(|error| about(name, &error))?;
    Ok(text.replace("\r\n", "\n"))
}

/// Returns the lines of the workspace's manifest that the programs' manifests refer to.
fn inherited(manifest: &str) -> io::Result<Vec<String>> {
    let line_of = |key: &&str| {
        let is_of = |line: &&str| {
            let rest = line.strip_prefix(*key);
            rest.is_some_and(|rest| rest.trim_start().starts_with('='))
        };
        let line = manifest.lines().find(is_of).map(str::to_owned);
        line.ok_or_else(|| invalid(format!("{MANIFEST} has no line for {key}")))
    };
    INHERITED_KEYS.iter().map(line_of).collect()
}

/// Returns names, versions and checksums of the packages that the programs are compiled with.
fn locked(lock: &str) -> io::Result<Vec<String>> {
    let packages: Vec<Locked> = lock
        .split("\n[[package]]\n")
        .skip(1)
        .filter_map(Locked::parse)
        .collect();
    let find = |reference: &str| {
        let mut words = reference.split(' ');
        let (name, version) = (words.next(), words.next());
        let is_meant = |package: &&Locked| {
            Some(package.name) == name && version.is_none_or(|version| version == package.version)
        };
        let package = packages.iter().find(is_meant);
        package.ok_or_else(|| invalid(format!("{LOCK} has no package {reference}")))
    };
    let mut found: Vec<&Locked> = Vec::new();
    let mut waiting = vec![find(EBPF_PACKAGE)?];
    while let Some(package) = waiting.pop() {
        if found.contains(&package) {
            continue;
        }
        found.push(package);
        if package.name != COMMON_PACKAGE {
            for dependency in &package.dependencies {
                waiting.push(find(dependency)?);
            }
        }
    }
    let mut lines: Vec<String> = found.into_iter().map(Locked::identity).collect();
    lines.sort();
    Ok(lines)
}

/// A package in the lock file.
#[derive(PartialEq, Eq)]
struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    checksum: &'a str,
    /// "syn", or "syn 2.0.119" where there are several.
    dependencies: Vec<&'a str>,
}

impl<'a> Locked<'a> {
    fn parse(entry: &'a str) -> Option<Self> {
        let field = |name: &str| {
            let value = entry.lines().find_map(|line| line.strip_prefix(name))?;
            value.strip_prefix(" = \"")?.strip_suffix('"')
        };
        let dependency = |line: &'a str| line.strip_prefix(" \"")?.strip_suffix("\",");
        Some(Self {
            name: field("name")?,
            version: field("version")?,
            // Our own packages have none.
            checksum: field("checksum").unwrap_or_default(),
            dependencies: entry.lines().filter_map(dependency).collect(),
        })
    }

    fn identity(&self) -> String {
        let Self {
            name,
            version,
            checksum,
            ..
        } = self;
        format!("{name} {version} {checksum}")
    }
}

fn about(name: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {name}: {error}"))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
