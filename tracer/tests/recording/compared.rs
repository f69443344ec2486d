//! `tcpclose compare` of recordings that it cannot do much with: one clear sentence each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::harness::{Scratch, record};

fn kept(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    data.join(name)
}

fn compare(a: &Path, b: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    let output = command.arg("compare").args([a, b]).env("TZ", "UTC");
    output.output().expect("the program is there")
}

/// Nothing is claimed, and this is said.
#[track_caller]
fn reports(a: &Path, b: &Path, sentence: &str) {
    let Output {
        status,
        stdout,
        stderr,
    } = compare(a, b);
    let text = [stdout, stderr].concat();
    let text = String::from_utf8(text).expect("it is UTF-8");
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").contains(sentence), "{sentence}: {text}");
    assert_eq!(status.code(), Some(2), "{text}");
}

#[test]
fn one_recording_is_not_compared_with_itself() {
    let recording = kept("live-closes.rec");
    reports(&recording, &recording, "are the same file");
    let copy = Scratch::new("copy");
    fs::copy(&recording, &copy.0).unwrap();
    reports(
        &recording,
        &copy.0,
        "they recorded the same network namespaces",
    );
}

#[test]
fn recordings_without_a_common_connection_are_named_as_such() {
    let (one, other) = (kept("live-closes.rec"), kept("format-4.rec"));
    reports(&one, &other, "no connection is in both recordings");
    let empty = Scratch::new("compared-empty");
    record(&empty.0, 3);
    reports(&one, &empty.0, "B has no connection at all");
}

#[test]
fn what_is_no_whole_recording_is_named_as_such() {
    let whole = kept("live-closes.rec");
    reports(
        &whole,
        &kept("README.md"),
        "it is not a recording made by tcpclose",
    );
    reports(&kept("nothing.rec"), &whole, "nothing.rec cannot be read");
    let bytes = fs::read(&whole).unwrap();
    let cut = Scratch::new("compared-cut");
    fs::write(&cut.0, &bytes[..bytes.len() / 2]).unwrap();
    reports(
        &cut.0,
        &kept("format-4.rec"),
        "A: the recording is broken at byte",
    );
}

/// The recording without some bytes at twelve places behind its head, the same in every run.
fn damaged() -> impl Iterator<Item = (usize, Vec<u8>)> {
    let bytes = fs::read(kept("live-closes.rec")).unwrap();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    (0..12).map(move |_| {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let at = 700 + (random >> 33) as usize % (bytes.len() - 800);
        let mut lost = bytes.clone();
        lost.drain(at..at + 40);
        (at, lost)
    })
}

/// Bytes that are lost at any place cost the frame that they were in, and are reported.
#[test]
fn wherever_bytes_are_lost_the_rest_is_compared() {
    let file = Scratch::new("compared-damaged");
    for (at, bytes) in damaged() {
        fs::write(&file.0, bytes).unwrap();
        let Output { status, stdout, .. } = compare(&file.0, &kept("format-4.rec"));
        let text = String::from_utf8(stdout).unwrap();
        assert!(text.contains("A: the recording is broken"), "{at}: {text}");
        assert!(text.contains("endpoints closed"), "{at}: {text}");
        assert_eq!(status.code(), Some(2), "{at}: {text}");
    }
}

/// Every command that reads a recording goes on behind what is broken, and reports what it skipped.
#[test]
fn wherever_bytes_are_lost_every_reader_goes_on() {
    let file = Scratch::new("read-damaged");
    for (at, bytes) in damaged().step_by(4) {
        fs::write(&file.0, bytes).unwrap();
        for command in [
            "watch --replay",
            "explain --replay",
            "resets --replay",
            "leaks --watch 2s --replay",
            "report -o -",
        ] {
            let words = command.split(' ');
            let mut reader = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
            let reader = reader.args(words).arg(&file.0).env("TZ", "UTC");
            let Output {
                status,
                stdout,
                stderr,
            } = reader.output().expect("the program is there");
            let text = String::from_utf8(stderr).unwrap();
            assert!(text.contains("is broken at byte"), "{command} {at}: {text}");
            assert!(!stdout.is_empty(), "{command} {at}: {text}");
            assert_eq!(status.code(), Some(2), "{command} {at}: {text}");
        }
    }
}
