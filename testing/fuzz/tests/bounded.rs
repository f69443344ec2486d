//! Every target over its corpus, over all that ever made one panic, and over a bounded number of
//! mutations of both, the same in each run. Needs no nightly toolchain.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

use std::fs;
use std::path::{Path, PathBuf};

use tcpclose::recording::{Entry, EntryRef, Reader};
use tcpclose_fuzz::{TARGETS, Target};

/// Mutations of each target.
const MUTATIONS_PER_TARGET: usize = 4_000;
/// Bytes of a mutation, at most: longer ones are slow, and find nothing else.
const MAX_MUTATION_SIZE: usize = 64 << 10;

/// The program's kept recordings, seen from this crate.
const RECORDINGS_DIRECTORY: &str = "../../tracer/tests/data/golden";
/// Bytes of a recording's entries that are a seed.
const MAX_SEED_SIZE: usize = 8 << 10;

fn inputs(folder: &str, name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    files(&folder.join(name))
}

/// The files of a directory in the order of their names; none where it is missing.
fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.is_file());
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(read).collect()
}

/// Runs a target; where it panics, the input is kept below target/, and the message says what to do
/// with it.
fn run(name: &str, target: Target, input: &[u8], origin: &str) {
    if std::panic::catch_unwind(|| target(input)).is_ok() {
        return;
    }
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    fs::write(&kept, input).unwrap();
    panic!(
        "{name}: the panic above comes from {origin}; it is kept as {}: once it is understood, move it to \
         testing/fuzz/crashes/{name}",
        kept.display()
    );
}

/// The recordings that the program's tests keep, as files or as their entries: seeds that cover
/// every kind of finding.
fn recordings(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let as_target_takes_it: fn(&[u8]) -> Vec<u8> = match name {
        "recording" => <[u8]>::to_vec,
        "replay" => entries,
        _ => return Vec::new(),
    };
    let mut files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(RECORDINGS_DIRECTORY));
    files.retain(|(path, _)| path.extension().is_some_and(|extension| extension == "rec"));
    assert!(!files.is_empty(), "no recording in {RECORDINGS_DIRECTORY}");
    let seeds = files
        .into_iter()
        .map(|(path, file)| (path, as_target_takes_it(&file)));
    seeds.collect()
}

/// Behind the byte that chooses the core's rules, the entries of a recording as they are in its
/// frames.
fn entries(file: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(file).unwrap();
    let mut seed = vec![0b1_0110];
    while let Ok(Some(entry)) = reader.next_entry() {
        let entry = match &entry {
            Entry::Input(input) => EntryRef::Input(input),
            Entry::WallClock(offset) => EntryRef::WallClock(*offset),
            Entry::Cgroup { id, path } => EntryRef::Cgroup { id: *id, path },
            Entry::IntervalEnd(end) => EntryRef::IntervalEnd(end),
        };
        let bytes = postcard::to_extend(&entry, seed.clone()).unwrap();
        if bytes.len() > MAX_SEED_SIZE {
            break;
        }
        seed = bytes;
    }
    seed
}

fn over_everything(name: &str) {
    let (name, target) = TARGETS
        .into_iter()
        .find(|(known, _)| *known == name)
        .unwrap();
    let mut kept = inputs("corpus", name);
    kept.extend(recordings(name));
    assert!(kept.len() > 1, "{name} has no corpus");
    kept.extend(inputs("crashes", name));
    for (path, input) in &kept {
        run(name, target, input, &path.display().to_string());
    }
    let seeds: Vec<&[u8]> = kept.iter().map(|(_, input)| &**input).collect();
    let mut random = fastrand::Rng::with_seed(name.bytes().map(u64::from).sum());
    for number in 0..MUTATIONS_PER_TARGET {
        let input = mutated(&seeds, &mut random);
        run(name, target, &input, &format!("mutation {number}"));
    }
}

/// One of the seeds, or the start of one and the end of another, with a few bytes changed.
fn mutated(seeds: &[&[u8]], random: &mut fastrand::Rng) -> Vec<u8> {
    /// Numbers at which something may turn over.
    const EDGE_VALUES: [u32; 8] = [
        0,
        1,
        16,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0xffff,
        0x1_0000,
    ];

    let choose = |random: &mut fastrand::Rng| seeds[random.usize(..seeds.len())];
    let mut input = choose(random).to_vec();
    if random.u8(..) < 32 {
        let other = choose(random);
        input.truncate(random.usize(..=input.len()));
        input.extend(&other[random.usize(..=other.len())..]);
    }
    for _ in 0..=random.usize(..4) {
        let at = random.usize(..=input.len());
        let length = random.usize(..=(input.len() - at).min(32));
        match random.u8(..7) {
            0 if at < input.len() => input[at] ^= 1 << random.u8(..8),
            1 if at < input.len() => input[at] = random.u8(..),
            2 => input.truncate(at),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let again = input[at..at + length].to_vec();
                input.splice(at..at, again);
            }
            5 => {
                let edge = EDGE_VALUES[random.usize(..EDGE_VALUES.len())].to_ne_bytes();
                let length = length.min(edge.len());
                input[at..at + length].copy_from_slice(&edge[..length]);
            }
            _ => {
                let random = std::iter::repeat_with(|| random.u8(..)).take(length);
                let random: Vec<u8> = random.collect();
                input.splice(at..at, random);
            }
        }
    }
    input.truncate(MAX_MUTATION_SIZE);
    input
}

macro_rules! each {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                over_everything(stringify!($name));
            }
        )*

        const TARGETS_WITH_TEST: &[&str] = &[$(stringify!($name)),*];
    };
}

each! { btf cgroup_path configuration container_names mountinfo netlink proc_files recording replay ring_record }

#[test]
fn every_target_has_a_test() {
    let guided = include_str!("../guided/Cargo.toml");
    let workflow = include_str!("../../../.github/workflows/ci.yml");
    assert_eq!(TARGETS.map(|(name, _)| name), TARGETS_WITH_TEST);
    for name in TARGETS_WITH_TEST {
        assert!(
            guided.contains(&format!("[[bin]]\nname = \"{name}\"\n")),
            "{name}"
        );
        assert!(
            workflow.contains(&format!("          - {name}\n")),
            "{name}"
        );
    }
}
