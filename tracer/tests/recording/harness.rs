//! Recordings of a few inputs, and how they are read.

use std::ffi::CString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use tcpclose::recording::{
    BrokenPart, Entry, EntryRef, Head, IfExists, OpenError, Reader, Recorder,
};
use tcpclose_core::event::{Event, Signal, SignalKind};
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{Input, MinisocketState};
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

/// A file that is gone when the test is over.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let name = format!("tcpclose-recording-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    pub fn pipe(name: &str) -> Self {
        let scratch = Self::new(name);
        let path = CString::new(scratch.0.as_os_str().as_bytes()).unwrap();
        // SAFETY: the path ends with a NUL and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        scratch
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

pub fn head() -> Head {
    Head::new(&TraceOptions::default(), Tier::Btf, 1000)
}

pub fn create(file: &Path, head: &Head) -> io::Result<Recorder> {
    let mut recorder = Recorder::prepare(file, IfExists::Overwrite, head)?;
    recorder.begin()?;
    Ok(recorder)
}

pub fn input(number: u64) -> Input {
    match number % 3 {
        0 => Input::Event(Event::Signal(Signal {
            at: Nanos(number),
            id: EndpointId(number),
            kind: SignalKind::ResetSent {
                reason: Some("TCP_ABORT_ON_CLOSE"),
                answers: None,
                minisocket: false,
            },
        })),
        1 => Input::MinisocketProbe {
            id: EndpointId(number),
            minisocket: MinisocketState::TimeWait(Nanos(number)),
            at: Nanos(number),
        },
        // More than a second apart: each ends a frame.
        _ => Input::Time(Nanos::from_secs(2 * number)),
    }
}

/// Records so many inputs, a frame for three of them.
pub fn record(file: &Path, inputs: u64) {
    let mut recorder = create(file, &head()).unwrap();
    recorder.entry(EntryRef::WallClock(-5));
    recorder.entry(EntryRef::Cgroup {
        id: 7,
        path: "/a\n",
    });
    for number in 0..inputs {
        recorder.input(&input(number));
    }
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.entries, recorded.dropped), (inputs + 2, 0));
    assert_eq!(recorded.bytes, fs::metadata(file).unwrap().len());
}

pub fn read(bytes: &[u8]) -> Result<(Vec<String>, Option<BrokenPart>), OpenError> {
    let mut reader = Reader::new(bytes)?;
    let mut entries = Vec::new();
    loop {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(format!("{entry:?}")),
            Ok(None) => return Ok((entries, None)),
            Err(broken) => return Ok((entries, Some(broken))),
        }
    }
}

pub fn all(inputs: u64) -> Vec<String> {
    let others = [
        Entry::WallClock(-5),
        Entry::Cgroup {
            id: 7,
            path: "/a\n".into(),
        },
    ];
    let inputs = (0..inputs).map(|number| Entry::Input(input(number)));
    let entries = others.into_iter().chain(inputs);
    entries.map(|entry| format!("{entry:?}")).collect()
}

/// Reads on behind what is broken, to the end of the file.
pub fn read_on(bytes: &[u8]) -> (Vec<String>, Vec<BrokenPart>) {
    let mut reader = Reader::new(bytes).unwrap();
    let (mut entries, mut breaks) = (Vec::new(), Vec::new());
    // The last entry is the end, or what is reported of it.
    for _ in 0..=bytes.len() {
        match reader.next_entry() {
            Ok(Some(entry)) => entries.push(format!("{entry:?}")),
            Ok(None) => return (entries, breaks),
            Err(broken) => breaks.push(broken),
        }
    }
    panic!("it never ends");
}

/// Where each frame of a whole file begins, as docs/recording.md describes them; the end of the
/// file comes last.
pub fn frame_starts(bytes: &[u8]) -> Vec<usize> {
    let mut at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut starts = vec![at];
    while at < bytes.len() {
        let stored = bytes[at + 4..at + 8].try_into().unwrap();
        at += 16 + u32::from_le_bytes(stored) as usize;
        starts.push(at);
    }
    starts
}

/// What is left of [`all`] without the frame `nth`, the head being number 0.
pub fn all_without(nth: usize) -> Vec<String> {
    let mut entries = all(30);
    // Three inputs to a frame, and two other entries in the first.
    let (from, to) = match nth {
        1 => (0, 5),
        11 => return entries,
        nth => (3 * nth - 1, 3 * nth + 2),
    };
    entries.drain(from..to);
    entries
}

/// As docs/recording.md describes it, written anew.
pub fn push_frame(file: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let mut header = vec![kind, 0, 0, 0];
    header.extend((content.len() as u32).to_le_bytes());
    header.extend((content.len() as u32).to_le_bytes());
    let mut checked = header.clone();
    checked.extend(content);
    file.extend(header);
    file.extend(crc32fast::hash(&checked).to_le_bytes());
    file.write_all(content).unwrap();
}
