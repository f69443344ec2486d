//! The licences of everything that is inside the program, with their texts, in one file.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use cargo_metadata::{DependencyKind, Metadata, Package, PackageId};

use crate::{arch::Arch, workspace::Workspace};

/// The packages of this workspace that are inside: the program, and the eBPF programs that it
/// loads.
const OURS: [&str; 2] = ["tcpclose", "tcpclose-ebpf"];

/// How the names of files with licences begin.
const LICENCE_FILE_PREFIXES: [&str; 5] = ["license", "licence", "copying", "notice", "unlicense"];

/// What is linked beside crates.
const OTHER_LICENCES: &str = "\
The Rust standard library: MIT OR Apache-2.0. https://github.com/rust-lang/rust
The GNU C library, linked statically: LGPL-2.1-or-later. https://sourceware.org/glibc/
GCC's runtime library: GPL-3.0-or-later WITH GCC-exception-3.1. https://gcc.gnu.org/

All of tcpclose is open source: `cargo xtask package` links the program anew with another version of
the GNU C library.
";

/// Where Debian has the terms of the GNU C library.
const GLIBC: [&str; 2] = [
    "/usr/share/doc/libc6-dev/copyright",
    "/usr/share/doc/libc6/copyright",
];
const LGPL: &str = "/usr/share/common-licenses/LGPL-2.1";

/// Writes the file.
pub fn write(workspace: &Workspace, file: &Path) -> Result<()> {
    let mut metadata = workspace.metadata();
    let mut options = vec!["--locked".to_owned()];
    for arch in Arch::ALL {
        options.extend(["--filter-platform".to_owned(), arch.target().to_owned()]);
    }
    let metadata = metadata
        .other_options(options)
        .exec()
        .context("cannot read `cargo metadata`")?;
    let crates: Vec<_> = inside(&metadata)
        .into_iter()
        .filter(|package| package.source.is_some())
        .collect();
    let text = text(&crates)?;
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// The packages whose code is in the program, sorted by name.
fn inside(metadata: &Metadata) -> Vec<&Package> {
    let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
    let nodes: HashMap<_, _> = nodes.map(|node| (&node.id, node)).collect();
    let packages = || metadata.packages.iter();
    let mut waiting: Vec<&PackageId> = packages()
        .filter(|package| package.source.is_none() && OURS.contains(&package.name.as_str()))
        .map(|package| &package.id)
        .collect();
    let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        // Build scripts and tests stay outside.
        let linked = dependencies.filter(|dependency| {
            let mut kinds = dependency.dep_kinds.iter();
            kinds.any(|kind| kind.kind == DependencyKind::Normal)
        });
        waiting.extend(linked.map(|dependency| &dependency.pkg));
    }
    let mut inside: Vec<_> = packages()
        .filter(|package| seen.contains(&package.id))
        .collect();
    inside.sort_by_key(|package| (package.name.to_string(), package.version.clone()));
    inside
}

fn text(crates: &[&Package]) -> Result<String> {
    let mut text = "The software of others inside the program tcpclose\n\n".to_owned();
    text.push_str(OTHER_LICENCES);
    text.push_str("\nCrates:\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in crates {
        let name = format!("{} {}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or("see its text");
        writeln!(text, "{name}: {licence}")?;
        let found = texts_of(package)?;
        if found.is_empty() {
            let authors = match package.authors.as_slice() {
                [] => "its authors".to_owned(),
                authors => authors.join(", "),
            };
            without.push(format!("{name}: {licence}, copyright {authors}"));
        }
        for found in found {
            texts.entry(found).or_default().push(name.clone());
        }
    }
    if !without.is_empty() {
        text.push_str(
            "\nThese were published without the text of their licence; the standard texts, which \
             are among those below, apply:\n\n",
        );
        for line in without {
            writeln!(text, "{line}")?;
        }
    }
    let mut sorted: Vec<_> = texts.into_iter().collect();
    sorted.sort_by(|one, other| one.1.cmp(&other.1).then_with(|| one.0.cmp(&other.0)));
    for (licence, names) in sorted {
        section(&mut text, &names.join(", "), &licence)?;
    }
    for file in GLIBC.iter().take(1).chain([&LGPL]) {
        let terms = fs::read_to_string(file);
        let terms = match terms {
            Ok(terms) => terms,
            Err(_) if *file == GLIBC[0] => fs::read_to_string(GLIBC[1]).unwrap_or_default(),
            Err(_) => String::new(),
        };
        if terms.is_empty() {
            writeln!(text, "\n{file} was not on the host that made this package.")?;
        } else {
            section(&mut text, "the GNU C library", terms.trim())?;
        }
    }
    Ok(text)
}

fn section(text: &mut String, names: &str, licence: &str) -> Result<()> {
    let line = "=".repeat(100);
    writeln!(text, "\n{line}\n{names}\n{line}\n\n{licence}")?;
    Ok(())
}

/// The texts that a crate was published with.
fn texts_of(package: &Package) -> Result<Vec<String>> {
    let folder = package.manifest_path.as_std_path().with_file_name("");
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).with_context(cannot_read)? {
        let entry = entry.with_context(cannot_read)?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        if LICENCE_FILE_PREFIXES
            .iter()
            .any(|start| name.starts_with(start))
            && entry.path().is_file()
        {
            files.push(entry.path());
        }
    }
    files.sort();
    let mut texts = Vec::new();
    for file in files {
        let bytes = fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8_lossy(&bytes).replace('\r', "");
        texts.push(text.trim().to_owned());
    }
    Ok(texts)
}
