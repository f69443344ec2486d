//! Files that are made to cost time or memory, and files of other formats.

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};

use super::harness::{Scratch, all, create, frame_starts, head, read, read_on, record};
use tcpclose::output_status::OutputStatus;
use tcpclose::recording::{EntryRef, Head};
use tcpclose::summary::IntervalEnd;
use tcpclose_core::Input;
use tcpclose_core::types::Nanos;

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
    let [broken] = &*breaks else {
        panic!("{breaks:?}");
    };
    assert_eq!(broken.resumed_at, None);
}

#[test]
fn a_frame_that_claims_a_huge_length_takes_no_memory() {
    let file = Scratch::new("endless");
    record(&file.0, 3);
    let mut bytes = fs::read(&file.0).unwrap();
    bytes.extend([2, 0, 0, 0]);
    bytes.extend([0xff; 12]);
    let (_, broken) = read(&bytes).unwrap();
    assert!(broken.unwrap().to_string().contains("impossible length"));
}

/// Such a frame has some kilobytes in the file. Thousands of them would be kept in memory.
#[test]
fn names_that_are_longer_than_the_kernel_has_are_not_read() {
    let long = "a".repeat(1 << 20);
    let outputs = |name: &str, count| {
        let output = OutputStatus {
            name: name.into(),
            ..OutputStatus::default()
        };
        IntervalEnd {
            outputs: vec![output; count],
            ..IntervalEnd::default()
        }
    };
    let (named, many) = (outputs(&long, 1), outputs("x", 100_000));
    let entries = [
        EntryRef::Cgroup { id: 9, path: &long },
        EntryRef::IntervalEnd(&named),
        EntryRef::IntervalEnd(&many),
    ];
    for entry in entries {
        let file = Scratch::new("long-names");
        let mut recorder = create(&file.0, &head()).unwrap();
        recorder.entry(entry);
        recorder.entry(EntryRef::WallClock(3));
        recorder.finish().unwrap();
        let (entries, breaks) = read_on(&fs::read(&file.0).unwrap());
        let [broken] = &*breaks else {
            panic!("{breaks:?}");
        };
        let broken = broken.to_string();
        assert!(
            broken.contains("longer than any recorder writes"),
            "{broken}"
        );
        assert_eq!(entries, ["WallClock(3)"]);
    }
}

/// A clock that jumps by a century, many times.
#[test]
fn a_jump_of_the_clock_is_shown_in_few_lines() {
    const MAX_LEN: u64 = 32 << 20;
    let file = Scratch::new("jumps");
    let head = Head {
        stuck_after: Some(Nanos::from_secs(1)),
        ..head()
    };
    let mut recorder = create(&file.0, &head).unwrap();
    for jumps in 0..100 {
        recorder.input(&Input::Time(Nanos::from_secs(1 + jumps * 100_000_000)));
    }
    recorder.finish().unwrap();
    for command in [&["agent"][..], &["leaks", "--watch", "5s"]] {
        let mut replay = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .args(command)
            .arg("--replay")
            .arg(&file.0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut shown = Vec::new();
        let stdout = replay.stdout.take().unwrap();
        stdout.take(MAX_LEN).read_to_end(&mut shown).unwrap();
        let is_endless = shown.len() as u64 == MAX_LEN;
        if is_endless {
            replay.kill().unwrap();
        }
        let status = replay.wait().unwrap();
        assert!(!is_endless, "{command:?} does not end");
        assert!(status.success(), "{command:?}");
        // The quiet times are shown, each at least once.
        let lines = shown.iter().filter(|byte| **byte == b'\n').count();
        assert!((100..=60_000).contains(&lines), "{command:?}: {lines}");
    }
}

#[test]
fn other_formats_and_other_files_are_refused_in_words() {
    let refused = |bytes: &[u8]| read(bytes).map(|_| ()).unwrap_err().to_string();
    assert!(refused(b"tcpclose recording 8\nwhatever").contains("use a newer tcpclose"));
    assert!(refused(b"tcpclose recording 1\nwhatever").contains("use an older tcpclose"));
    for other in [
        &b""[..],
        b"\n",
        b"{}",
        b"tcpclose recording x\n",
        &[0; 1000],
    ] {
        assert!(refused(other).contains("not a recording"), "{other:?}");
    }
}
