//! Outputs of type `file`.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tcpclose::output::sink::{SinkConfig, Target};

use crate::findings::{
    assert_adds_up, close, ids, long, loss, record, start, summary, time_wait, try_start,
    wait_until,
};
use rustix::fs::{CWD, Mode, mkfifoat};
use tcpclose_kit::scratch::Scratch;

fn config(path: &Path) -> SinkConfig {
    SinkConfig::new(Target::File(path.to_owned()))
}

#[test]
fn the_records_are_those_of_watch() {
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let (mut sink, messages) = start(&config(&path));
    let findings = [close(1), time_wait(1), loss(3), summary(0, 60, 4)];
    for finding in &findings {
        sink.offer(finding);
    }
    let counts = sink.finish(long());
    assert_eq!((counts.offered, counts.written), (4, 4));
    let text = fs::read_to_string(&path).expect("the file");
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let expected: Vec<_> = findings.iter().map(|finding| record(finding)).collect();
    assert_eq!(lines, expected);
    assert!(messages.all().is_empty());
}

#[test]
fn not_everybody_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let (sink, _) = start(&config(&path));
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
    let _ = sink.finish(long());
}

/// A kill -9 in the middle of a write leaves such a line.
#[test]
fn a_file_is_continued_and_a_line_that_a_crash_cut_is_removed() {
    for cut in [
        "{",
        "{\"v\"",
        "{\"v\":1,\"kind\":\"close\",\"ts\":\"2026-11-3",
    ] {
        for before in ["", "{\"v\":1,\"old\":1}\n"] {
            let scratch = Scratch::new();
            let path = scratch.path("closes.jsonl");
            fs::write(&path, format!("{before}{cut}")).expect("a file");
            let (mut sink, _) = start(&config(&path));
            sink.offer(&close(7));
            assert_eq!(sink.finish(long()).written, 1);
            let text = fs::read_to_string(&path).expect("the file");
            let new = text.strip_prefix(before).expect("what was whole");
            assert_eq!(ids(new.as_bytes()), [7], "{text}");
        }
    }
}

/// The last line of a file that another program wrote need not have a newline.
#[test]
fn a_last_line_of_another_program_is_ended() {
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let long_line = format!("{{\"v\":1,{}", "x".repeat(2 << 20));
    for old in ["{\"old\":1}\nexit", &long_line] {
        fs::write(&path, old).expect("a file");
        let (mut sink, _) = start(&config(&path));
        sink.offer(&close(7));
        assert_eq!(sink.finish(long()).written, 1);
        let text = fs::read_to_string(&path).expect("the file");
        let new = text.strip_prefix(&format!("{old}\n"));
        assert_eq!(ids(new.expect("what was there").as_bytes()), [7]);
    }
}

#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let (first, _) = start(&config(&path));
    let refused = try_start(&config(&path)).0.expect_err("it has a writer");
    let messages = format!("{refused:#}");
    assert!(
        messages.contains("another program writes to it"),
        "{messages}"
    );
    assert!(messages.contains("closes.jsonl"), "{messages}");
    let _ = first.finish(long());
    let (again, _) = start(&config(&path));
    let _ = again.finish(long());
}

#[test]
fn a_path_that_is_not_a_file_is_refused_at_once() {
    let scratch = Scratch::new();
    let pipe = scratch.path("pipe");
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).expect("a pipe");
    for (path, why) in [
        (pipe, "not a regular file"),
        (scratch.folder().to_owned(), "Is a directory"),
        (PathBuf::from("/dev/null"), "not a regular file"),
        (scratch.path("no/such/folder"), "there is no directory"),
    ] {
        let error = try_start(&config(&path)).0.expect_err("not usable");
        let messages = format!("{error:#}");
        assert!(messages.contains(why), "{}: {messages}", path.display());
    }
}

/// Renames the file again and again while records come, as logrotate does, and asks for it to be
/// reopened.
#[test]
fn rotation_under_load_loses_and_cuts_nothing() {
    const RECORDS: u64 = 60_000;
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let mut config = config(&path);
    config.queue = std::num::NonZeroUsize::new(RECORDS as usize).expect("not zero");
    let (mut sink, messages) = start(&config);
    let mut rotated = 0;
    for id in 1..=RECORDS {
        sink.offer(&close(id));
        if id % 1_500 == 0 {
            // The last one may still be being written to: the new file is there when it no longer
            // is.
            wait_until("the file is there again", || path.exists());
            fs::rename(&path, scratch.path(&format!("old.{rotated:03}"))).expect("a rename");
            rotated += 1;
            sink.reopen();
        }
    }
    let counts = sink.finish(long());
    assert_eq!((counts.offered, counts.written), (RECORDS, RECORDS));
    let mut files: Vec<PathBuf> = fs::read_dir(scratch.folder())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    // `closes.jsonl` is the newest.
    files.sort_by_key(|file| (file == &path, file.clone()));
    assert_eq!(files.len(), rotated + 1);
    let with_lines = files
        .iter()
        .map(|file| ids(&fs::read(file).expect("a file")));
    let all: Vec<u64> = with_lines.flatten().collect();
    assert!(all.iter().copied().eq(1..=RECORDS), "{} records", all.len());
    assert!(messages.all().is_empty(), "{:?}", messages.all());
}

/// As logrotate's `copytruncate` does, but for the lines that come between its copy and its
/// truncation.
#[test]
fn a_file_that_is_emptied_is_written_from_its_beginning() {
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let (mut sink, _) = start(&config(&path));
    sink.offer(&close(1));
    wait_until("the first is written", || sink.counts().written == 1);
    File::options()
        .write(true)
        .truncate(true)
        .open(&path)
        .expect("the file");
    sink.offer(&close(2));
    assert_eq!(sink.finish(long()).written, 2);
    assert_eq!(ids(&fs::read(&path).expect("the file")), [2]);
}

#[test]
fn a_file_that_cannot_be_reopened_is_written_on() {
    let scratch = Scratch::new();
    let folder = scratch.path("logs");
    fs::create_dir(&folder).expect("a folder");
    let path = folder.join("closes.jsonl");
    let (mut sink, messages) = start(&config(&path));
    let moved = scratch.path("moved");
    fs::rename(&folder, &moved).expect("a rename");
    sink.reopen();
    messages.wait_for("could not be reopened, and goes on as before: there is no directory ");
    sink.offer(&close(1));
    assert_eq!(sink.finish(long()).written, 1);
    let text = fs::read(moved.join("closes.jsonl")).expect("the file");
    assert_eq!(ids(&text), [1]);
}

#[test]
fn a_file_that_was_deleted_is_made_again() {
    let scratch = Scratch::new();
    let path = scratch.path("logs/closes.jsonl");
    let folder = scratch.path("logs");
    fs::create_dir(&folder).expect("a folder");
    let (mut sink, messages) = start(&config(&path));
    sink.offer(&close(1));
    wait_until("the first is written", || sink.counts().written == 1);
    fs::remove_file(&path).expect("removed");
    sink.offer(&close(2));
    wait_until("the second is written", || sink.counts().written == 2);
    assert_eq!(ids(&fs::read(&path).expect("the file")), [2]);
    assert!(messages.all().is_empty());
    fs::remove_dir_all(&folder).expect("removed");
    sink.offer(&close(3));
    messages.wait_for("it was deleted, and cannot be created again: there is no directory ");
    fs::create_dir(&folder).expect("a folder");
    messages.wait_for("is up again");
    assert_eq!(sink.finish(long()).written, 3);
    assert_eq!(ids(&fs::read(&path).expect("the file")), [3]);
}

/// Readers see whole lines only, at any moment.
#[test]
fn a_reader_meets_no_half_line() {
    let scratch = Scratch::new();
    let path = scratch.path("closes.jsonl");
    let (mut sink, _) = start(&config(&path));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) || looks == 0 {
                let mut text = Vec::new();
                let mut file = File::open(&path).expect("the file");
                file.read_to_end(&mut text).expect("the text");
                let end = text.iter().rposition(|byte| *byte == b'\n');
                let whole = end.map_or(0, |end| end + 1);
                // The kernel may show a write(2) that is still going on, of which the last line is
                // not whole yet.
                let _ = ids(&text[..whole]);
                looks += 1;
            }
        });
        for id in 1..=5_000 {
            sink.offer(&close(id));
        }
        wait_until("all is written", || sink.counts().written == 5_000);
        done.store(true, Ordering::Relaxed);
    });
    assert_adds_up(sink.finish(long()));
}
