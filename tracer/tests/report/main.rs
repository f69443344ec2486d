//! `tcpclose report`: pages of kept recordings.

mod json_lines;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tcpclose_kit::scratch::Scratch;

fn recording(name: &str) -> PathBuf {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden");
    data.join(name)
}

fn report(recording: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    command.env("TZ", "UTC").arg("report").arg(recording);
    command.args(args).output().expect("the program is there")
}

/// The page on stdout.
fn page(recording: &Path, args: &[&str]) -> String {
    let output = report(recording, &[&["-o", "-"], args].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    String::from_utf8(output.stdout).expect("a page is UTF-8")
}

#[test]
fn a_page_has_verdicts_plots_and_an_example_of_each_kind() {
    let page = page(&recording("live-closes.rec"), &[]);
    for text in [
        "<title>tcpclose report: live-closes.rec</title>",
        "to 2026-11-30 15:34:21Z, 1m15s: 64 closes. Recorded on Linux 6.18.44 by tcpclose 0.1.0.",
        "reset by us: unread data",
        "Nothing was lost, and the path of every close is known.",
        "How long connections lived",
        "<th scope=\"row\">CLOSE_WAIT</th>",
        "<th scope=\"row\">TIME_WAIT, expired</th>",
        "<summary>peer never closed</summary>",
        "<summary>orderly</summary>",
    ] {
        assert!(page.contains(text), "{text} is not in:\n{page}");
    }
}

#[test]
fn a_page_loads_nothing() {
    let page = page(&recording("live-closes.rec"), &[]);
    for text in ["http:", "https:", "src=", "href=", "url(", "<script"] {
        assert!(!page.contains(text), "{text}");
    }
}

#[test]
fn what_is_stuck_at_the_end_is_shown() {
    let page = page(&recording("stuck-owners.rec"), &[]);
    assert!(
        page.contains("Sockets that were stuck when the recording ended"),
        "{page}"
    );
}

#[test]
fn losses_and_unknown_closes_are_named() {
    let page = page(&recording("losses-and-resync.rec"), &[]);
    assert!(page.contains("because the ring buffer was full"), "{page}");
    assert!(!page.contains("Nothing was lost"), "{page}");
}

#[test]
fn filters_are_those_of_the_other_commands() {
    let file = recording("live-closes.rec");
    let some = page(&file, &["--cause", "refused"]);
    assert!(some.contains("Only what passes the filters"), "{some}");
    assert!(
        some.contains("refused") && !some.contains("unread data"),
        "{some}"
    );
    let none = page(&file, &["nobody"]);
    assert!(none.contains("Nothing happened: 0 closes"), "{none}");
    assert!(
        none.contains("Nothing is wrong with the TCP closes"),
        "{none}"
    );
}

#[test]
fn an_existing_page_is_refused_and_stays_as_it_is() {
    let folder = Scratch::new();
    let path = folder.path("report.html");
    fs::write(&path, "mine").expect("a folder of ours");
    let name = path.to_str().expect("an ordinary name");
    let file = recording("closes.rec");
    let refused = report(&file, &["-o", name]);
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{message}");
    assert!(message.contains("the file exists; name another one, or overwrite it with --force"));
    assert_eq!(fs::read(&path).expect("it is there"), b"mine");
    let forced = report(&file, &["-o", name, "--force"]);
    assert_eq!(forced.status.code(), Some(0), "{forced:?}");
    assert!(
        fs::read_to_string(&path)
            .expect("it is there")
            .starts_with("<!DOCTYPE html>")
    );
}

#[test]
fn a_file_that_is_no_recording_leaves_no_page() {
    let folder = Scratch::new();
    let path = folder.path("page.html");
    let name = path.to_str().expect("an ordinary name");
    let refused = report(Path::new("/dev/null"), &["-o", name]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(!path.exists());
}

#[test]
fn a_cut_recording_has_a_page_that_names_the_cut() {
    let whole = fs::read(recording("live-closes.rec")).expect("it is kept");
    let folder = Scratch::new();
    let path = folder.path("cut.rec");
    fs::write(&path, &whole[..whole.len() - whole.len() / 10]).expect("a folder of ours");
    let output = report(&path, &["-o", "-"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let page = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(page.contains("What could not be seen</h3><ul>"), "{page}");
}
