use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder::{segment_path, segments};
use super::*;
use crate::recording::{Entry, Head};
use tcpclose_core::event::{Event, Signal, SignalKind};
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{Input, Saved};
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

const SIZE: u64 = 64 << 10;

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("tcpclose-flight-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn open(&self, session: u64) -> FlightRecorder {
        let lock = File::create(self.0.join(LOCK_NAME)).expect("a file");
        let head = Head::new(&TraceOptions::default(), Tier::Btf, 1000);
        let place = (self.0.clone(), lock);
        let mut recorder =
            FlightRecorder::open(place, SIZE, head, Nanos::from_secs(session)).expect("it opens");
        recorder.begin_segment(start(Nanos::from_secs(session)));
        recorder
    }

    fn bytes(&self) -> u64 {
        let numbers = segments(&self.0).expect("they are listed");
        let len = |number| {
            segment_path(&self.0, number)
                .metadata()
                .map_or(0, |it| it.len())
        };
        numbers.into_iter().map(len).sum()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn start(at: Nanos) -> SegmentStart {
    SegmentStart {
        at,
        wall_clock: Some(-5),
        cgroups: vec![(7, "/a".to_owned())],
        listening: Vec::new(),
        saved: Saved::default(),
    }
}

fn signal(second: u64, number: u64) -> Input {
    Input::Event(Event::Signal(Signal {
        at: Nanos::from_secs(second),
        id: EndpointId((second << 32) | (number.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)),
        kind: SignalKind::ResetReceived,
    }))
}

/// What distinguishes an input of these tests from all others.
type Key = (u64, u64);

fn key(input: &Input) -> Key {
    match input {
        Input::Event(Event::Signal(signal)) => (signal.id.0, signal.at.0),
        Input::Time(now) => (0, now.0),
        other => panic!("not an input of these tests: {other:?}"),
    }
}

/// Records some seconds, and a segment wherever one is wanted. Returns what was recorded.
fn record(recorder: &mut FlightRecorder, seconds: std::ops::Range<u64>) -> Vec<Key> {
    let mut recorded = Vec::new();
    for second in seconds {
        let signals = (0..50).map(|number| signal(second, number));
        for input in signals.chain([Input::Time(Nanos::from_secs(second))]) {
            recorder.input(&input);
            recorded.push(key(&input));
        }
        // As if the disk were fast.
        while !recorder.is_idle() {
            std::thread::yield_now();
        }
        if recorder.wants_segment(Nanos::from_secs(second)) {
            recorder.begin_segment(start(Nanos::from_secs(second)));
        }
    }
    recorded
}

fn end(recorder: FlightRecorder) {
    recorder.finish(Instant::now() + Duration::from_secs(60));
}

fn span(folder: &Path) -> Span {
    Span {
        folder: folder.to_owned(),
        boot: None,
        writing: None,
        from: None,
    }
}

struct Read {
    inputs: Vec<Key>,
    losses: usize,
    starts: usize,
    broken: Vec<String>,
    notes: Vec<String>,
}

fn read(span: &Span) -> Option<Read> {
    let mut reader = SpanReader::open(span).ok()?;
    let mut read = Read {
        inputs: Vec::new(),
        losses: 0,
        starts: 0,
        broken: Vec::new(),
        notes: Vec::new(),
    };
    loop {
        match reader.next_entry() {
            Ok(Some(Entry::Input(Input::Loss(_)))) => read.losses += 1,
            Ok(Some(Entry::Input(Input::StartOver))) => read.starts += 1,
            Ok(Some(Entry::Input(Input::Snapshot { .. }))) => {}
            Ok(Some(Entry::Input(input))) => read.inputs.push(key(&input)),
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(broken) => read.broken.push(broken.to_string()),
        }
    }
    read.notes = reader.notes();
    Some(read)
}

/// What was read, without the time at the beginning of the first segment.
fn without_start(read: &Read) -> &[Key] {
    &read.inputs[1..]
}

#[test]
fn the_ring_never_has_more_bytes_and_its_segments_are_one_recording() {
    let scratch = Scratch::new("ring");
    let mut recorder = scratch.open(1);
    let mut recorded = Vec::new();
    for hundred in 0..10 {
        let seconds = 100 * hundred + 2..100 * (hundred + 1) + 2;
        recorded.extend(record(&mut recorder, seconds));
        assert!(scratch.bytes() <= SIZE, "{}", scratch.bytes());
    }
    let counts = recorder.counts();
    assert!(counts.overwritten > 10, "{counts:?}");
    assert_eq!((counts.failed, counts.dropped), (0, 0));
    end(recorder);
    assert!(scratch.bytes() <= SIZE, "{}", scratch.bytes());
    let read = read(&span(&scratch.0)).expect("there are segments");
    assert_eq!((read.losses, read.starts), (0, 1));
    assert_eq!(read.broken, [""; 0]);
    assert_eq!(read.notes, ["what came before was overwritten"]);
    assert!(read.inputs.len() > 1_000, "{}", read.inputs.len());
    assert!(recorded.ends_with(without_start(&read)));
}

#[test]
fn a_span_begins_with_the_segment_that_has_its_first_moment() {
    let scratch = Scratch::new("span");
    let mut recorder = scratch.open(1);
    let recorded = record(&mut recorder, 2..100);
    end(recorder);
    let whole = SpanReader::open(&span(&scratch.0)).expect("it opens");
    assert_eq!(whole.began(), Nanos::from_secs(1));
    let late = Span {
        from: Some(Nanos::from_secs(90)),
        ..span(&scratch.0)
    };
    let began = SpanReader::open(&late).expect("it opens").began();
    assert!(
        began > Nanos::from_secs(50) && began <= Nanos::from_secs(90),
        "{began:?}"
    );
    let read = read(&late).expect("there are segments");
    assert_eq!(read.notes, [""; 0]);
    assert!(recorded.ends_with(without_start(&read)));
}

#[test]
fn an_agent_that_was_killed_leaves_whole_frames_and_the_next_one_starts_over() {
    let scratch = Scratch::new("killed");
    let mut recorder = scratch.open(1);
    let first = record(&mut recorder, 2..60);
    end(recorder);
    let last = *segments(&scratch.0)
        .expect("they are listed")
        .last()
        .expect("one");
    let path = segment_path(&scratch.0, last);
    let bytes = fs::read(&path).expect("it is there");
    // As it is while a frame is written.
    fs::write(&path, &bytes[..bytes.len() - 20]).expect("it is ours");
    let mut recorder = scratch.open(61);
    let second = record(&mut recorder, 62..64);
    end(recorder);
    let read = read(&span(&scratch.0)).expect("there are segments");
    assert_eq!((read.losses, read.starts), (1, 2), "{:?}", read.notes);
    assert_eq!(read.broken, [""; 0]);
    assert!(
        read.notes[0].contains("ends unfinished"),
        "{:?}",
        read.notes
    );
    assert!(read.inputs.ends_with(&second));
    let of_first = &without_start(&read)[..without_start(&read).len() - second.len() - 1];
    assert!(first.starts_with(of_first));
    // The last frame, of a second, is missing.
    assert!(of_first.len() + 52 >= first.len(), "{}", of_first.len());
}

#[test]
fn what_could_not_be_written_is_counted_and_a_loss_where_it_goes_on() {
    let scratch = Scratch::new("lost");
    let mut recorder = scratch.open(1);
    record(&mut recorder, 2..4);
    let away = scratch.0.with_extension("away");
    // The open segment is written on; the next cannot be begun.
    fs::rename(&scratch.0, &away).expect("it is ours");
    recorder.begin_segment(start(Nanos::from_secs(5)));
    record(&mut recorder, 6..8);
    let lost = recorder.counts().failed;
    assert!(lost >= 51, "{lost}");
    fs::rename(&away, &scratch.0).expect("it is ours");
    recorder.begin_segment(start(Nanos::from_secs(9)));
    let written = record(&mut recorder, 10..12);
    end(recorder);
    let read = read(&span(&scratch.0)).expect("there are segments");
    assert_eq!((read.losses, read.starts), (1, 2));
    assert!(read.inputs.ends_with(&written));
}

/// A seeded generator (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }
}

#[test]
fn segments_that_are_cut_and_changed_a_thousand_times_are_read_and_nothing_is_invented() {
    let scratch = Scratch::new("damaged");
    let mut recorder = scratch.open(1);
    let mut recorded: HashSet<Key> = record(&mut recorder, 2..30).into_iter().collect();
    end(recorder);
    recorded.insert(key(&Input::Time(Nanos::from_secs(1))));
    let numbers = segments(&scratch.0).expect("they are listed");
    let mut random = Random(0x5eed);
    let (mut less, mut seen) = (0, 0);
    for nth in 0..1_000 {
        let path = segment_path(&scratch.0, numbers[random.below(numbers.len())]);
        let whole = fs::read(&path).expect("it is there");
        let mut bytes = whole.clone();
        match nth % 3 {
            0 => bytes.truncate(random.below(whole.len())),
            1 => bytes[random.below(whole.len())] ^= 1 << random.below(8),
            _ => drop(bytes.drain(random.below(whole.len() / 2)..whole.len() / 2)),
        }
        fs::write(&path, &bytes).expect("it is ours");
        let read = read(&span(&scratch.0)).expect("the others are there");
        fs::write(&path, &whole).expect("it is ours");
        let invented = read.inputs.iter().find(|input| !recorded.contains(*input));
        assert_eq!(invented, None, "{nth}");
        let is_told = !read.broken.is_empty() || !read.notes.is_empty() || read.losses > 0;
        assert!(is_told, "{nth} is not noticed");
        less += usize::from(read.inputs.len() + 100 < recorded.len());
        seen += read.inputs.len();
    }
    assert!(less > 100 && seen > 300_000, "{less} {seen}");
}
