//! The compiled eBPF programs that are kept in the tree, and what ties them to their sources.
//! Shared by this crate's build script, which refuses an object that does not fit, and by xtask,
//! which writes it.

use std::{fmt, fs, io, path::Path};

use super::sources::{SOURCES, hash, hash_of_sources};

/// The object, below the crate's directory.
pub const OBJECT: &str = "ebpf/tcpclose.o";
/// What is known of it, beside it.
pub const INFO_FILE: &str = "ebpf/tcpclose.txt";

/// What is known of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its compiler and linker, with their versions.
    pub compiler: String,
    /// The hash of what it was compiled from: [`hash_of_sources`].
    pub sources: String,
    /// The hash of its bytes.
    pub object: String,
}

impl ObjectInfo {
    /// Reads the text of [`INFO_FILE`].
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name))?;
            Some(value.strip_prefix(": ")?.trim().to_owned())
        };
        Some(Self {
            compiler: field("compiler")?,
            sources: field("sources")?,
            object: field("object")?,
        })
    }
}

impl fmt::Display for ObjectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            compiler,
            sources,
            object,
        } = self;
        write!(
            f,
            "# About tcpclose.o, the compiled programs of tracer-ebpf. `cargo xtask ebpf` writes both files.\n\
             compiler: {compiler}\nsources: {sources}\nobject: {object}\n"
        )
    }
}

/// Why the kept object cannot be taken.
#[derive(Debug)]
pub enum ObjectMismatch {
    /// One of the two files cannot be read.
    Unreadable(&'static str, io::Error),
    /// [`INFO_FILE`] lacks a line.
    Info,
    /// The object is not the one that [`INFO_FILE`] describes.
    Object,
    /// The sources are not those that the object was compiled from.
    Sources,
    /// The sources cannot be read.
    UnreadableSources(io::Error),
}

impl fmt::Display for ObjectMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(file, error) => write!(f, "cannot read tracer-sys/{file} ({error})"),
            Self::Info => write!(f, "tracer-sys/{INFO_FILE} lacks a line"),
            Self::Object => write!(
                f,
                "tracer-sys/{OBJECT} does not have the hash that tracer-sys/{INFO_FILE} names"
            ),
            Self::Sources => write!(
                f,
                "the eBPF programs, or what they are compiled with, have changed since tracer-sys/{OBJECT} was compiled"
            ),
            Self::UnreadableSources(error) => write!(f, "the eBPF programs' sources: {error}"),
        }
    }
}

/// Returns the kept object of the crate in the directory `package`, if it fits the sources. In a
/// published crate there are none, and it fits.
pub fn read(package: &Path) -> Result<Vec<u8>, ObjectMismatch> {
    let bytes = fs::read(package.join(OBJECT))
        .map_err(|error| ObjectMismatch::Unreadable(OBJECT, error))?;
    let info = read_info(package)?;
    if info.object != hash(&bytes) {
        return Err(ObjectMismatch::Object);
    }
    if let Some(checkout) = checkout_of(package) {
        let sources = hash_of_sources(checkout).map_err(ObjectMismatch::UnreadableSources)?;
        if info.sources != sources {
            return Err(ObjectMismatch::Sources);
        }
    }
    Ok(bytes)
}

/// Returns what is known of the kept object of the crate in the directory `package`.
pub fn read_info(package: &Path) -> Result<ObjectInfo, ObjectMismatch> {
    let text = fs::read_to_string(package.join(INFO_FILE))
        .map_err(|error| ObjectMismatch::Unreadable(INFO_FILE, error))?;
    ObjectInfo::parse(&text).ok_or(ObjectMismatch::Info)
}

/// Returns the checkout that the crate in the directory `package` lies in, if it does: with the
/// sources of the programs.
pub fn checkout_of(package: &Path) -> Option<&Path> {
    let parent = package.parent()?;
    let mut sources = SOURCES.iter();
    sources
        .any(|source| parent.join(source).exists())
        .then_some(parent)
}
