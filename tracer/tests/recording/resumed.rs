//! A core that begins in the middle, with what another knew at that moment, finds the same closes
//! as that one.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tcpclose::recording::{Entry, Head, Reader, RecordedTier};
use tcpclose::session::tracker_for;
use tcpclose_core::finding::{Close, ClosePath, Finding};
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, SaveScope, Tracker};

/// The most moments of a recording at which another core begins.
const MAX_SPLITS: usize = 12;

fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|kind| kind == "rec"))
        .collect()
}

fn inputs(file: &Path) -> (Head, Vec<Input>) {
    let mut reader = Reader::open(file).unwrap();
    let head = reader.head().clone();
    let mut inputs = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(Entry::Input(input))) => inputs.push(input),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => return (head, inputs),
        }
    }
}

fn take(tracker: &mut Tracker, inputs: &[Input]) {
    for input in inputs {
        tracker.apply(input);
        if let Input::Time(now) = input {
            tracker.due_probes(*now, &mut Vec::new());
            tracker.due_polls(*now, &mut Vec::new());
            tracker.due_stuck_probes(*now, &mut Vec::new());
        }
    }
}

/// The closes that are found next, by their addresses and their beginning.
fn closes(tracker: &mut Tracker) -> BTreeMap<(String, Option<Nanos>), Close> {
    let findings = std::iter::from_fn(|| tracker.next_finding());
    let closes = findings.filter_map(|finding| match finding {
        Finding::Close(close) => Some(close),
        _ => None,
    });
    let key = |close: &Close| (format!("{:?}", close.endpoint.tuple), close.endpoint.opened);
    closes.map(|close| (key(&close), *close)).collect()
}

/// Returns the closes after a moment as one core finds them that has taken everything, and as
/// another that begins there.
fn both(
    head: &Head,
    before: &[Input],
    after: &[Input],
) -> [BTreeMap<(String, Option<Nanos>), Close>; 2] {
    let now = time_of(before);
    let mut whole = tracker_for(head);
    take(&mut whole, before);
    let saved = whole.save(SaveScope::ToResume, usize::MAX);
    let mut later = tracker_for(head);
    // What it knew before does not matter.
    take(&mut later, &before[..before.len() / 2]);
    let sockets = whole.listening();
    take(&mut later, &[Input::StartOver]);
    take(&mut later, &[Input::Snapshot { sockets, at: now }]);
    for saved in saved.parts {
        take(&mut later, &[Input::Resume { saved, at: now }]);
    }
    [whole, later].map(|mut tracker| {
        closes(&mut tracker);
        take(&mut tracker, after);
        tracker.end_waits();
        closes(&mut tracker)
    })
}

fn time_of(inputs: &[Input]) -> Nanos {
    match inputs.last() {
        Some(Input::Time(now)) => *now,
        _ => panic!("it does not end with a time"),
    }
}

#[test]
fn a_core_that_begins_in_the_middle_finds_the_closes_that_follow() {
    let mut same = 0;
    for file in recordings() {
        let (head, inputs) = inputs(&file);
        // Without cookies nothing is saved.
        if head.seen == RecordedTier::Classic {
            continue;
        }
        let times = inputs.iter().enumerate();
        let times = times.filter(|(_, input)| matches!(input, Input::Time(_)));
        let times: Vec<usize> = times.map(|(at, _)| at + 1).collect();
        for at in times
            .iter()
            .step_by(times.len().div_ceil(MAX_SPLITS).max(1))
        {
            let (before, after) = inputs.split_at(*at);
            let [whole, later] = both(&head, before, after);
            for (key, close) in &later {
                let Some(expected) = whole.get(key) else {
                    panic!("{file:?} from {at}: {close:?} is invented");
                };
                let mut close = close.clone();
                // Those without a cookie are numbered.
                close.endpoint.id = expected.endpoint.id;
                let is_same = format!("{close:?}") == format!("{expected:?}");
                // A signal that came alone just before is not known any more.
                let knows_less = close.path == ClosePath::Unknown;
                assert!(
                    is_same || knows_less,
                    "{file:?} from {at}: {close:?}, and not {expected:?}"
                );
                same += usize::from(is_same);
            }
            // A close that waits for that of its peer belongs to the time before.
            let missing = whole.iter().filter(|(key, _)| !later.contains_key(key));
            for (_, close) in missing {
                // Probes that were under way may belong to it, too.
                let is_due = close.path != ClosePath::Unknown && close.at > time_of(before);
                assert!(!is_due, "{file:?} from {at}: {close:?}");
            }
        }
    }
    assert!(same > 1_000, "{same}");
}
