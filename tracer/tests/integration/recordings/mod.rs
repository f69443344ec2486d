//! Recordings of the running kernel: what is shown from one is what was shown live.

mod signals;

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::harness::lab::Lab;
use crate::harness::program;
use crate::harness::sockets::{Connection, Family};
use crate::harness::watch::{Watch, closes_in};
use tcpclose_kit::process::{ChildGuard, ChildProcess, CommandOutput};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::sockets::reset_on_close;
use tcpclose_kit::wait::within;

fn lab() -> Option<Lab> {
    Lab::not_yet_watching(Family::V4)
}

/// A watch's recording of [`visits`], and the lines that the watch showed of them.
struct Recorded {
    lab: Lab,
    scratch: Scratch,
    live: Vec<String>,
}

impl Recorded {
    /// Has `visits` recorded by a watch with these further arguments.
    fn new(args: &[&str], visits: impl FnOnce(&Lab)) -> Option<Self> {
        let lab = lab()?;
        let scratch = Scratch::new();
        let file = scratch.path("closes.rec");
        let mut all = vec!["--record", text(&file)];
        all.extend_from_slice(args);
        let watch = Watch::start(&lab.ns, &all);
        visits(&lab);
        Some(Self {
            live: watch.stop_raw(),
            lab,
            scratch,
        })
    }

    fn file(&self) -> PathBuf {
        self.scratch.path("closes.rec")
    }
}

/// All kinds of ends: a close by the client, one by the server, resets, a refused connection.
fn visits(lab: &Lab) {
    for round in 0..20 {
        let Connection {
            client,
            server,
            listener,
            ..
        } = lab.converse("a question", "an answer");
        if round % 3 == 0 {
            reset_on_close(&client);
        }
        if round % 2 == 0 {
            drop(client);
            drop(server);
        } else {
            drop(server);
            drop(client);
        }
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let address = lab.connect_address(port);
        let refused = lab.ns.run(|| std::net::TcpStream::connect(address));
        refused.unwrap_err();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours")
}

fn replay(file: &Path, args: &[&str]) -> CommandOutput {
    let mut all = vec!["watch", "--replay", text(file), "--format", "json"];
    all.extend_from_slice(args);
    program::run_with(&all)
}

fn assert_same(replayed: &[String], live: &[String]) {
    for (replayed, live) in replayed.iter().zip(live) {
        assert_eq!(replayed, live);
    }
    assert_eq!(replayed.len(), live.len());
}

fn lines(ended: &CommandOutput) -> Vec<String> {
    ended.stdout.lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_replay_shows_byte_for_byte_what_was_shown_live() {
    let Some(recorded) = Recorded::new(&[], visits) else {
        return;
    };
    let live = &recorded.live;
    assert!(live.len() >= 60, "{} lines", live.len());

    let ended = replay(&recorded.file(), &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_same(&lines(&ended), live);
}

#[test]
fn a_replay_takes_the_filters_that_the_recording_had_not() {
    let Some(recorded) = Recorded::new(&[], visits) else {
        return;
    };
    let (file, netns) = (recorded.file(), recorded.lab.ns.inode().to_string());
    let all = closes_in(&recorded.live);
    let (local, peer) = all[0].ports();

    let of = |args: &[&str]| closes_in(&lines(&replay(&file, args)));
    let local = of(&["-L", &local.to_string()]);
    assert!(!local.is_empty() && local.len() < all.len());
    let both = of(&["-L", &all[0].ports().0.to_string(), "-D", &peer.to_string()]);
    assert!(both.iter().all(|close| close.ports() == all[0].ports()));
    assert!(!both.is_empty());
    let pid = std::process::id();
    assert!(!of(&["-p", &pid.to_string()]).is_empty());
    assert!(of(&["-p", "1"]).is_empty());
    assert!(of(&["-6"]).is_empty());
    assert_eq!(of(&["-4", "--netns", &netns]).len(), all.len());
    assert!(of(&["--netns", "1"]).is_empty());
    assert_eq!(of(&["--count", "3"]).len(), 3);
}

fn wait_until_begun(recorder: &ChildProcess) {
    let recording = recorder.stderr.wait(|lines| {
        let begun = |line: &String| line.starts_with("tcpclose: recording");
        lines.iter().any(begun).then_some(())
    });
    assert!(recording.is_some(), "{}", recorder.stderr.text());
}

/// Two processes have two programs in the kernel, each with its own reading of the clock: times
/// differ by a microsecond.
#[test]
fn record_sees_what_a_watch_beside_it_sees() {
    let Some(lab) = lab() else { return };
    let scratch = Scratch::new();
    let file = scratch.path("closes.rec");
    let watch = Watch::start(&lab.ns, &[]);
    let mut command = lab.ns.command(program::path());
    let inode = lab.ns.inode().to_string();
    command.args(["record", text(&file), "--netns", &inode]);
    let mut recorder = ChildProcess::spawn(&mut command);
    wait_until_begun(&recorder);
    visits(&lab);
    let live = watch.stop_raw();
    recorder.interrupt();
    assert_eq!(
        recorder.wait().code(),
        Some(0),
        "{}",
        recorder.stderr.text()
    );

    let timeless = |lines: &[String]| {
        let mut closes: Vec<String> = lines
            .iter()
            .filter(|line| line.contains(r#""kind":"close""#))
            .map(|line| without_times(serde_json::from_str(line).unwrap()).to_string())
            .collect();
        closes.sort();
        closes
    };
    let replayed = lines(&replay(&file, &[]));
    assert_same(&timeless(&replayed), &timeless(&live));
}

fn without_times(mut record: Value) -> Value {
    match &mut record {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                !matches!(
                    name.as_str(),
                    "ts" | "opened" | "ms" | "at_ms" | "lifetime_ms"
                )
            });
            for field in fields.values_mut() {
                *field = without_times(field.take());
            }
        }
        Value::Array(values) => {
            for value in values {
                *value = without_times(value.take());
            }
        }
        _ => {}
    }
    record
}

#[test]
fn every_transition_can_be_replayed_too() {
    let Some(recorded) = Recorded::new(&["--transitions"], visits) else {
        return;
    };
    assert!(recorded.live.len() > 100);
    let replayed = replay(&recorded.file(), &["--transitions"]);
    assert_same(&lines(&replayed), &recorded.live);
}

#[test]
fn the_whole_part_of_a_broken_recording_is_shown_with_exit_code_2() {
    let twice = |lab: &Lab| {
        visits(lab);
        // Frames are a second apart.
        std::thread::sleep(Duration::from_millis(1500));
        visits(lab);
    };
    let Some(recorded) = Recorded::new(&[], twice) else {
        return;
    };
    let Recorded { scratch, live, .. } = &recorded;

    let whole = fs::read(recorded.file()).unwrap();
    let cut = scratch.path("cut.rec");
    fs::write(&cut, &whole[..whole.len() - 100]).unwrap();
    let ended = replay(&cut, &[]);
    assert_eq!(ended.code, Some(2));
    assert!(
        ended.stderr.contains("broken at byte") && ended.stderr.contains("cut.rec"),
        "{}",
        ended.stderr
    );
    let shown = lines(&ended);
    assert!(!shown.is_empty() && live.starts_with(&shown));

    let text_file = scratch.path("words.txt");
    fs::write(
        &text_file,
        "no recording at all, but long enough for its head",
    )
    .unwrap();
    let ended = program::run_with(&["watch", "--replay", text(&text_file)]);
    assert_eq!(ended.code, Some(2));
    let output = "words.txt cannot be replayed: it is not a recording";
    assert!(ended.stderr.contains(output), "{}", ended.stderr);
}

#[test]
fn the_agents_summaries_of_a_recording_count_what_it_shows() {
    let Some(recorded) = Recorded::new(&[], visits) else {
        return;
    };
    let (file, live) = (recorded.file(), &recorded.live);

    let ended = program::run_with(&["agent", "--replay", text(&file)]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let records = lines(&ended);
    let (summaries, findings): (Vec<String>, Vec<String>) = records
        .into_iter()
        .partition(|line| line.contains(r#""kind":"summary""#));
    assert_same(&findings, live);
    let closes: u64 = summaries
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|summary| summary["connections"]["closed"].as_u64().expect("a number"))
        .sum();
    assert_eq!(closes as usize, closes_in(live).len());
    // And always the same.
    let again = program::run_with(&["agent", "--replay", text(&file)]);
    assert!(again.stdout == ended.stdout);
}

/// What is stuck at the end of a recording, and what was and is no more.
#[test]
fn leaks_of_a_recording_are_reported_byte_for_byte_and_shown_at_intervals_of_its_time() {
    let Some(lab) = lab() else { return };
    let scratch = Scratch::new();
    let file = scratch.path("stuck.rec");
    let watch = Watch::start(
        &lab.ns,
        &["--record", text(&file), "--stuck-after", "200ms"],
    );
    let reported = |event: &str, count: usize| {
        let word = format!(r#""event":"{event}""#);
        watch.wait_for(&format!("{count} {event}"), |lines| {
            let reported = lines.iter().filter(|line| line.contains(&word));
            (reported.count() == count).then_some(())
        });
        // The next look of the replay comes before whatever follows.
        std::thread::sleep(std::time::Duration::from_millis(600));
    };
    let mut kept = Vec::new();
    // So many that the line through the looks rises beyond doubt.
    for round in 1..=6 {
        let Connection { client, server, .. } = lab.converse("a question", "an answer");
        drop(client);
        reported("opened", round);
        if round == 1 {
            drop(server);
            reported("resolved", 1);
        } else {
            kept.push(server);
        }
    }
    let live: Vec<String> = watch
        .stop_raw()
        .into_iter()
        .filter(|line| line.contains(r#""kind":"stuck""#))
        .collect();
    let of = |event: &str| {
        let word = format!(r#""event":"{event}""#);
        live.iter().filter(|line| line.contains(&word)).count()
    };
    assert_eq!((of("opened"), of("resolved")), (6, 1), "{live:?}");

    let leaks = |args: &[&str]| {
        let mut all = vec!["leaks", "--watch", "500ms", "--replay", text(&file)];
        all.extend_from_slice(args);
        program::run_with(&all)
    };
    let json = leaks(&["--format", "json"]);
    assert_eq!(json.code, Some(1), "{}", json.stderr);
    assert_same(&lines(&json), &live);

    let table = leaks(&["--all"]);
    assert_eq!(table.code, Some(1), "{}", table.stderr);
    let first = table.stdout.lines().next().expect("a look");
    let age = "0 sockets stuck for 200ms or longer";
    assert!(first.ends_with(age), "{first}");
    let shown = &table.stdout;
    assert!(shown.contains("1 new and 0 resolved in 500ms"), "{shown}");
    assert!(shown.contains("0 new and 1 resolved in 500ms"), "{shown}");
    let (_, last) = shown.rsplit_once("STUCK ").expect("a last table");
    let total = shown.lines().rfind(|line| line.contains(" stuck, "));
    let total = total.expect("a last look");
    assert!(total.contains("  5 sockets stuck, "), "{total}");
    assert!(last.contains(&std::process::id().to_string()), "{last}");
    assert!(last.contains(" grows by "), "{last}");
    assert!(!last.contains('~'), "ages are exact: {last}");
    // As it was in the beginning, and of others.
    let begun = leaks(&["--count", "1"]);
    assert_eq!(
        (begun.code, begun.stdout.matches("or longer\n").count()),
        (Some(0), 1)
    );
    assert_eq!(leaks(&["-p", "1", "--format", "json"]).stdout, "");
    let refused = leaks(&["--min-age", "1s"]);
    assert_eq!(refused.code, Some(2));
    drop(kept);
}
