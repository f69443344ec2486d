//! Pages of JSON lines: the same facts as those of the recording that the lines are from.

use std::fs;
use std::path::Path;

use super::{page, recording, report};
use tcpclose_kit::scratch::Scratch;

/// What `watch --json` writes of a kept recording.
fn lines(name: &str) -> std::path::PathBuf {
    recording(name).join("watch.jsonl")
}

/// Returns the part of a page between two words.
fn part<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let (_, rest) = page.split_once(begin).expect("it begins");
    rest.split_once(end).map_or(rest, |(part, _)| part)
}

#[test]
fn the_page_of_json_lines_has_what_the_page_of_their_recording_has() {
    for name in [
        "live-closes",
        "orderly-closes",
        "keepalive-races",
        "time-wait-by-hooks",
    ] {
        let recorded = page(&recording(&format!("{name}.rec")), &[]);
        let read = page(&lines(name), &[]);
        for (begin, end) in [
            ("Connections that closed abnormally</h3><pre>", "</pre>"),
            ("<h2>Durations</h2>", "<h2>"),
            ("<h2>Who closed most</h2>", "<h2>"),
        ] {
            if recorded.contains(begin) {
                assert_eq!(
                    part(&recorded, begin, end),
                    part(&read, begin, end),
                    "{name}"
                );
            }
        }
        assert!(read.contains("Read from JSON lines."), "{read}");
        assert!(read.contains("is missing."), "{read}");
    }
}

#[test]
fn stuck_sockets_losses_and_other_kinds_are_on_the_page() {
    let stuck = page(&lines("stuck-owners"), &[]);
    assert!(stuck.contains("JSON lines ended"), "{stuck}");
    assert!(stuck.contains(": CLOSE_WAIT, eof_unread</th>"), "{stuck}");
    let lossy = page(&lines("losses-and-resync"), &[]);
    assert!(
        lossy.contains("because the ring buffer was full"),
        "{lossy}"
    );
    let summaries = page(&recording("stuck-owners").join("summaries.jsonl"), &[]);
    assert!(summaries.contains("2 records of other kinds, such as summaries, are not shown."));
}

#[test]
fn filters_apply_to_json_lines() {
    let some = page(&lines("live-closes"), &["--cause", "refused"]);
    assert!(some.contains("Only what passes the filters"), "{some}");
    assert!(
        some.contains("refused") && !some.contains("unread data"),
        "{some}"
    );
    let none = page(&lines("live-closes"), &["nobody"]);
    assert!(none.contains("Nothing happened: 0 closes"), "{none}");
}

#[test]
fn broken_lines_are_counted_and_named() {
    let folder = Scratch::new();
    let path = folder.path("closes.jsonl");
    let whole = fs::read_to_string(lines("resets")).expect("it is kept");
    let mut broken: Vec<&str> = whole.lines().collect();
    broken.insert(1, "{\"v\":1,\"kind\":\"close\",\"ts\":");
    broken.insert(3, "\u{1b}[31m");
    fs::write(&path, broken.join("\n")).expect("a folder of ours");
    let output = report(&path, &["-o", "-"]);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(
        message.contains("2 lines are no records, line 2 is the first"),
        "{message}"
    );
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        page.contains("2 lines are no records, of which line 2 is the first."),
        "{page}"
    );
    assert!(page.contains("21 closes"), "{page}");
}

#[test]
fn an_empty_file_is_refused_as_no_recording() {
    let refused = report(Path::new("/dev/null"), &["-o", "-"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
}
