//! Recordings as files: what was written is read again, and of a broken one what is whole.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::ffi::CString;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tcpclose::recording::{Broken, Entry, EntryRef, Head, OpenError, Reader, Recorder};
use tcpclose_core::event::{Event, Signal, SignalKind};
use tcpclose_core::finding::LossLocation;
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_core::{Input, Minisocket};
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

/// A file that is gone when the test is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let name = format!("tcpclose-recording-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    fn pipe(name: &str) -> Self {
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

fn head() -> Head {
    Head::new(&TraceOptions::default(), Tier::Btf, 1000)
}

fn create(file: &Path, head: &Head) -> io::Result<Recorder> {
    let mut recorder = Recorder::prepare(file, head)?;
    recorder.begin()?;
    Ok(recorder)
}

fn input(number: u64) -> Input {
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
        1 => Input::Probed {
            id: EndpointId(number),
            minisocket: Minisocket::TimeWait(Nanos(number)),
            at: Nanos(number),
        },
        // More than a second apart: each ends a frame.
        _ => Input::Time(Nanos::from_secs(2 * number)),
    }
}

/// Records so many inputs, a frame for three of them.
fn record(file: &Path, inputs: u64) {
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

fn read(bytes: &[u8]) -> Result<(Vec<String>, Option<Broken>), OpenError> {
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

fn all(inputs: u64) -> Vec<String> {
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

#[test]
fn what_was_recorded_is_read_again() {
    let file = Scratch::new("again");
    record(&file.0, 100);
    let bytes = fs::read(&file.0).unwrap();
    assert!(bytes.starts_with(b"tcpclose recording 2\n"));
    assert_eq!(*Reader::new(&*bytes).unwrap().head(), head());
    let (entries, broken) = read(&bytes).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries, all(100));
}

#[test]
fn a_recording_that_nobody_has_finished_is_broken_off() {
    let scratch = Scratch::new("dropped");
    let mut recorder = create(&scratch.0, &head()).unwrap();
    for number in 0..3 {
        recorder.input(&input(number));
    }
    recorder.input(&Input::Time(Nanos::from_secs(10)));
    drop(recorder);
    let whole = || {
        let (entries, broken) = read(&fs::read(&scratch.0).unwrap()).unwrap();
        (entries.len() > 3).then_some(broken)
    };
    let until = Instant::now() + Duration::from_secs(30);
    let broken = loop {
        match whole() {
            Some(broken) => break broken,
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            None => panic!("it was not written"),
        }
    };
    let broken = broken.expect("it has no end");
    assert!(broken.to_string().contains("had not finished"), "{broken}");
}

#[test]
fn only_its_owner_may_read_a_recording() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = Scratch::new("mode");
    fs::write(&file.0, "somebody's file, readable by all").unwrap();
    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o644)).unwrap();
    record(&file.0, 1);
    let mode = fs::metadata(&file.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_recording_that_is_being_written_is_left_alone() {
    let file = Scratch::new("busy");
    let mut recorder = create(&file.0, &head()).unwrap();
    let other = create(&file.0, &head()).unwrap_err();
    assert!(other.to_string().contains("another program records to it"));
    recorder.input(&input(0));
    recorder.finish().unwrap();
    let (entries, broken) = read(&fs::read(&file.0).unwrap()).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries.len(), 1);
}

#[test]
fn what_a_file_held_stays_until_its_recording_begins_and_nothing_is_lost_meanwhile() {
    let file = Scratch::new("prepared");
    fs::write(&file.0, "somebody's file").unwrap();
    let mut recorder = Recorder::prepare(&file.0, &head()).unwrap();
    let many = 40_000;
    for number in 0..many {
        recorder.input(&input(number));
    }
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "somebody's file");
    recorder.begin().unwrap();
    recorder.input(&input(many));
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.entries, recorded.dropped), (many + 1, 0));
    let (entries, broken) = read(&fs::read(&file.0).unwrap()).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries, all(many + 1)[2..]);
}

#[test]
fn a_pipe_without_a_reader_is_not_waited_for() {
    let pipe = Scratch::pipe("nobody");
    let error = create(&pipe.0, &head()).unwrap_err();
    assert_eq!(error.to_string(), "nobody reads from this pipe");
}

#[test]
fn all_that_a_slow_reader_had_no_room_for_is_reported_in_the_recording() {
    let pipe = Scratch::pipe("slow");
    let mut reading = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe.0)
        .unwrap();
    let mut recorder = create(&pipe.0, &head()).unwrap();
    let mut number = 0_u64;
    let mut record_more = |recorder: &mut Recorder| {
        let path = format!(
            "/{:x}",
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)
        );
        recorder.entry(EntryRef::Cgroup {
            id: number,
            path: &path,
        });
        number += 1;
    };
    while recorder.dropped() < 100_000 {
        record_more(&mut recorder);
    }
    // Some of that is reported, and what is reported it is dropped, too.
    recorder.take_dropped();
    while recorder.dropped() < 200_000 {
        record_more(&mut recorder);
    }
    let reader = thread::spawn(move || {
        // SAFETY: the descriptor is open, and no pointer is passed.
        unsafe { libc::fcntl(reading.as_raw_fd(), libc::F_SETFL, 0) };
        let mut bytes = Vec::new();
        reading.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let recorded = recorder.finish().unwrap();
    let bytes = reader.join().unwrap();
    let mut reader = Reader::new(&*bytes).unwrap();
    let (mut reported, mut there) = (0, 0);
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry {
            Entry::Input(Input::Lost(loss)) => {
                assert_eq!(loss.location, LossLocation::Recording);
                reported += loss.lost;
            }
            _ => there += 1,
        }
    }
    assert_eq!(reported, recorded.dropped);
    assert_eq!(there + reported, number);
}

#[test]
fn wherever_a_file_is_cut_what_is_whole_is_read_and_the_place_is_reported() {
    let file = Scratch::new("cut");
    record(&file.0, 30);
    let bytes = fs::read(&file.0).unwrap();
    let whole = all(30);
    let mut breaks = Vec::new();
    for length in 0..bytes.len() {
        match read(&bytes[..length]) {
            Ok((entries, broken)) => {
                let broken = broken.unwrap_or_else(|| panic!("cut at {length}, not noticed"));
                assert!(whole.starts_with(&entries), "cut at {length}");
                assert!(broken.offset <= length as u64);
                breaks.push((broken.offset, entries.len()));
            }
            // Not even the head.
            Err(OpenError::NotARecording | OpenError::Head) => assert!(breaks.is_empty()),
            Err(error) => panic!("cut at {length}: {error}"),
        }
    }
    breaks.dedup();
    // The head, ten frames of entries, and the end: each is reported as the place where it begins.
    assert_eq!(breaks.len(), 11, "{breaks:?}");
    assert_eq!(breaks.last().map(|(_, entries)| *entries), Some(32));
}

#[test]
fn a_changed_byte_anywhere_is_noticed_and_what_is_before_is_read() {
    let file = Scratch::new("changed");
    record(&file.0, 30);
    let bytes = fs::read(&file.0).unwrap();
    let whole = all(30);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        if let Ok((entries, broken)) = read(&changed) {
            let broken = broken.unwrap_or_else(|| panic!("changed at {at}, not noticed"));
            assert!(whole.starts_with(&entries), "changed at {at}");
            assert!(broken.offset <= at as u64, "changed at {at}: {broken}");
        }
    }
}

/// Reads on behind what is broken, to the end of the file.
fn read_on(bytes: &[u8]) -> (Vec<String>, Vec<Broken>) {
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

/// Where each frame of a whole file begins, as docs/recording.md describes them; the end of the file comes last.
fn frame_starts(bytes: &[u8]) -> Vec<usize> {
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
fn all_without(nth: usize) -> Vec<String> {
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

#[test]
fn frames_behind_a_broken_one_are_read() {
    let file = Scratch::new("behind");
    record(&file.0, 30);
    let bytes = fs::read(&file.0).unwrap();
    let starts = frame_starts(&bytes);
    // The head, ten frames of entries, the end of the recording and that of the file.
    assert_eq!(starts.len(), 13);
    for nth in 1..=10 {
        for at in starts[nth]..starts[nth + 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            let (entries, breaks) = read_on(&changed);
            let [broken] = &breaks[..] else {
                panic!("changed at {at}: {breaks:?}");
            };
            assert_eq!(broken.offset, starts[nth] as u64, "changed at {at}");
            let stored = changed[starts[nth] + 4..starts[nth] + 8]
                .try_into()
                .unwrap();
            let claimed = starts[nth] + 16 + u32::from_le_bytes(stored) as usize;
            if (bytes.len()..64 << 20).contains(&claimed) {
                // As a recorder leaves it that is interrupted: nothing within is believed.
                assert_eq!(broken.resumed_at, None, "changed at {at}");
                assert!(all(30).starts_with(&entries), "changed at {at}");
            } else {
                let next = starts[nth + 1] as u64;
                assert_eq!(broken.resumed_at, Some(next), "changed at {at}");
                assert_eq!(entries, all_without(nth), "changed at {at}");
            }
        }
    }
}

#[test]
fn what_is_no_frame_is_passed_over_wherever_it_stands_and_however_often() {
    let file = Scratch::new("rubbish");
    record(&file.0, 30);
    let bytes = fs::read(&file.0).unwrap();
    let starts = frame_starts(&bytes);
    for rubbish in [&[0; 1000][..], &[2, 0, 0, 0], &[2; 40], &[0xff; 300]] {
        let mut spoiled = Vec::new();
        for (nth, frame) in starts.windows(2).enumerate() {
            if nth == 0 {
                spoiled.extend(&bytes[..frame[0]]);
            } else {
                spoiled.extend(rubbish);
            }
            spoiled.extend(&bytes[frame[0]..frame[1]]);
        }
        let (entries, breaks) = read_on(&spoiled);
        assert_eq!(entries, all(30));
        assert_eq!(breaks.len(), 11, "{breaks:?}");
        let skipped = |broken: &Broken| broken.resumed_at.unwrap() - broken.offset;
        assert!(
            breaks
                .iter()
                .all(|broken| skipped(broken) == rubbish.len() as u64)
        );
    }
}

/// Command lines are recorded as they are: one may look like a frame, and shows if the frame around it is broken.
#[test]
fn what_looks_like_a_frame_within_a_broken_one_is_none() {
    let file = Scratch::new("within");
    record(&file.0, 30);
    let bytes = fs::read(&file.0).unwrap();
    let starts = frame_starts(&bytes);
    let content = [b"x", &bytes[starts[1]..starts[2]]].concat();
    let mut nested = bytes[..starts[1]].to_vec();
    push_frame(&mut nested, 2, &content);
    nested[starts[1] + 16] = b'y';
    nested.extend(&bytes[starts[1]..]);
    let (entries, breaks) = read_on(&nested);
    assert_eq!(entries, all(30));
    assert_eq!(breaks.len(), 1, "{breaks:?}");
}

/// Each 16 bytes of it claim to be a frame of a mebibyte: to check them all would take minutes.
#[test]
fn a_file_that_is_made_to_be_slow_is_given_up() {
    let file = Scratch::new("slow-to-read");
    record(&file.0, 3);
    let mut bytes = fs::read(&file.0).unwrap();
    let end = bytes.split_off(frame_starts(&bytes)[2]);
    let claim = [2, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x10, 0, 0, 0, 0, 0];
    for _ in 0..(8 << 20) / claim.len() {
        bytes.extend(claim);
    }
    bytes.extend(&end);
    let (entries, breaks) = read_on(&bytes);
    assert_eq!(entries, all(3));
    let [broken] = &breaks[..] else {
        panic!("{breaks:?}");
    };
    assert_eq!(broken.resumed_at, None);
}

#[test]
fn what_says_it_is_endless_takes_no_memory() {
    let file = Scratch::new("endless");
    record(&file.0, 3);
    let mut bytes = fs::read(&file.0).unwrap();
    bytes.extend([2, 0, 0, 0]);
    bytes.extend([0xff; 12]);
    let (_, broken) = read(&bytes).unwrap();
    assert!(broken.unwrap().to_string().contains("its length is absurd"));
}

#[test]
fn other_formats_and_other_files_are_refused_in_words() {
    let refused = |bytes: &[u8]| read(bytes).map(|_| ()).unwrap_err().to_string();
    assert!(refused(b"tcpclose recording 3\nwhatever").contains("use a newer tcpclose"));
    assert!(refused(b"tcpclose recording 1\nwhatever").contains("use an older tcpclose"));
    for other in [
        &b""[..],
        b"\n",
        b"{}",
        b"tcpclose recording x\n",
        &[0; 1000],
    ] {
        assert!(refused(other).contains("no recording"), "{other:?}");
    }
}

/// Later versions may add such frames; an old reader still has the rest.
#[test]
fn frames_that_may_be_passed_over_are() {
    let file = Scratch::new("optional");
    record(&file.0, 30);
    let mut bytes = fs::read(&file.0).unwrap();
    // The end is the last frame, 16 bytes and what its empty content is stored as.
    let end = bytes.split_off(bytes.len() - 17);
    assert_eq!(end[0], 3);
    let mut extended = bytes.clone();
    push_frame(&mut extended, 200, b"from the future");
    extended.extend(&end);
    let (entries, broken) = read(&extended).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries, all(30));

    push_frame(&mut bytes, 100, b"from the future");
    bytes.extend(&end);
    let (entries, broken) = read(&bytes).unwrap();
    assert_eq!(entries, all(30));
    assert!(broken.unwrap().to_string().contains("unknown kind 100"));
}

/// As docs/recording.md describes it, written anew.
fn push_frame(file: &mut Vec<u8>, kind: u8, content: &[u8]) {
    let mut header = vec![kind, 0, 0, 0];
    header.extend((content.len() as u32).to_le_bytes());
    header.extend((content.len() as u32).to_le_bytes());
    let mut checked = header.clone();
    checked.extend(content);
    file.extend(header);
    file.extend(crc32fast::hash(&checked).to_le_bytes());
    file.write_all(content).unwrap();
}

/// /dev/full refuses all that is written to it.
#[test]
fn a_full_disk_is_an_error_and_not_a_panic() {
    let error = match create(Path::new("/dev/full"), &head()) {
        Ok(_) => panic!("nothing can be written there"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}

/// Frames of each kept recording are broken in turn: what is left is shown, what is missing is reported.
#[test]
fn a_replay_goes_on_behind_what_is_broken_and_reports_it() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    let scratch = Scratch::new("damaged");
    let (mut replays, mut resumed) = (0, 0);
    for file in fs::read_dir(kept).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rec") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let starts = frame_starts(&bytes);
        // Not the head, and not the end of the file.
        let frames = &starts[1..starts.len() - 1];
        for start in frames.iter().step_by(frames.len().div_ceil(3)) {
            let mut damaged = bytes.clone();
            damaged[start + 16] ^= 0x20;
            fs::write(&scratch.0, &damaged).unwrap();
            let replay = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
                .args(["watch", "--format", "json", "--replay"])
                .arg(&scratch.0)
                .output()
                .unwrap();
            let (stdout, stderr) = (replay.stdout, replay.stderr);
            let stderr = String::from_utf8_lossy(&stderr);
            assert_eq!(
                replay.status.code(),
                Some(2),
                "{}: {stderr}",
                path.display()
            );
            assert!(
                !stderr.contains("panicked at "),
                "{}: {stderr}",
                path.display()
            );
            let text = format!("the recording is broken at byte {start}: ");
            assert!(stderr.contains(&text), "{}: {stderr}", path.display());
            let loss = |line: &&str| {
                line.contains(r#""kind":"loss""#) && line.contains(r#""where":"recording""#)
            };
            let stdout = String::from_utf8(stdout).unwrap();
            let goes_on = stderr.contains("bytes were skipped");
            let has_loss = stdout.lines().any(|line| loss(&line));
            assert!(has_loss || !goes_on, "{}: {stderr}", path.display());
            replays += 1;
            resumed += u32::from(goes_on);
        }
    }
    assert!(
        replays > 20 && resumed > 0,
        "{replays} replays, {resumed} went on"
    );
}
