//! Broken recordings: everything that is whole is read.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::{Scratch, all, all_without, frame_starts, push_frame, read, read_on, record};
use tcpclose::recording::{BrokenPart, OpenError};

#[test]
fn wherever_a_file_is_cut_whole_frames_are_read_and_the_position_is_reported() {
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
fn a_changed_byte_is_noticed_and_everything_before_it_is_read() {
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
            let [broken] = &*breaks else {
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
fn invalid_frames_are_skipped_anywhere_and_any_number_of_times() {
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
        let skipped = |broken: &BrokenPart| broken.resumed_at.unwrap() - broken.offset;
        assert!(
            breaks
                .iter()
                .all(|broken| skipped(broken) == rubbish.len() as u64)
        );
    }
}

/// Command lines are recorded as they are: one may look like a frame, and shows if the frame around
/// it is broken.
#[test]
fn bytes_that_resemble_a_frame_within_a_broken_one_are_not_read() {
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

/// Frames of each kept recording are broken in turn: what is left is shown, what is missing is
/// reported.
#[test]
fn a_replay_continues_after_a_broken_part_and_reports_it() {
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
