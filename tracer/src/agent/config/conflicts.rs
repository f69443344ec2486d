//! Outputs that exclude each other: their lines would mix, or their counts could not be
//! distinguished.

use std::collections::HashMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::output::sink::{SinkConfig, Target};

/// Two outputs that exclude each other.
#[derive(Debug)]
pub(super) struct Conflict {
    /// The index of the earlier one.
    pub first: usize,
    /// The index of the later one.
    pub second: usize,
    /// What both do, and what to change.
    pub problem: String,
}

/// Returns the first conflict, if there is one.
pub(super) fn first_conflict(outputs: &[SinkConfig]) -> Option<Conflict> {
    let mut destinations = HashMap::new();
    let mut names = HashMap::new();
    for (second, output) in outputs.iter().enumerate() {
        let name = output.name();
        let same_destination = exclusive_destination(&output.target)
            .and_then(|destination| first_with(&mut destinations, destination, second));
        let same_name = first_with(&mut names, name.clone(), second);
        let conflict = match (same_destination, same_name) {
            (Some(first), same_name) if same_name.is_none_or(|other| first <= other) => Some((
                first,
                format!("both write to {}: keep one of them", outputs[first].target),
            )),
            (_, Some(first)) => Some((
                first,
                format!("are both called {name}: keep one of them, or give one another `name`"),
            )),
            _ => None,
        };
        if let Some((first, problem)) = conflict {
            return Some(Conflict {
                first,
                second,
                problem,
            });
        }
    }
    None
}

/// Returns the index of the first output with this key; notes this one if there was none.
fn first_with<K: std::hash::Hash + Eq>(
    seen: &mut HashMap<K, usize>,
    key: K,
    index: usize,
) -> Option<usize> {
    let first = *seen.entry(key).or_insert(index);
    (first != index).then_some(first)
}

/// Returns the destination, if only one output may write to it: a file, or none for stdout.
fn exclusive_destination(target: &Target) -> Option<Option<PathBuf>> {
    match target {
        Target::Stdout => Some(None),
        Target::File(path) => Some(Some(canonical(path))),
        Target::Journald | Target::Syslog(_) | Target::Http(_) | Target::Otlp(_) => None,
    }
}

/// Returns the same path for all spellings of a file's path, if its directory exists.
fn canonical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    let directory = path
        .parent()
        .and_then(|directory| directory.canonicalize().ok());
    match (fs::canonicalize(path), directory, path.file_name()) {
        (Ok(real), _, _) => real,
        (_, Some(directory), Some(name)) => directory.join(name),
        _ => plain,
    }
}
