//! An output on a disk that is full.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;

use tcpclose::output::sink::{SinkConfig, Target};

use crate::findings::{assert_adds_up, close, ids, long, start, wait_until};
use tcpclose_kit::mounts::{enter_new_mounts, mount_tmpfs};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::skip;

/// Runs a test with a disk of 64 KiB, in a mount namespace of its own. Skips it where that is not
/// allowed.
fn with_small_disk(test: impl FnOnce(&Path) + Send) {
    let scratch = Scratch::new();
    let mounted = |path: &Path| -> io::Result<()> {
        enter_new_mounts()?;
        mount_tmpfs(path, c"size=64k")
    };
    thread::scope(|scope| {
        let work = scope.spawn(|| match mounted(scratch.folder()) {
            Ok(()) => test(scratch.folder()),
            Err(error) => skip(&format!("a small disk cannot be mounted: {error}")),
        });
        if let Err(panic) = work.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

#[test]
fn a_full_disk_is_reported_leaves_no_partial_line_and_is_recovered_from() {
    with_small_disk(|disk| {
        let path = disk.join("closes.jsonl");
        let config = SinkConfig {
            queue: std::num::NonZeroUsize::new(30).expect("not zero"),
            ..SinkConfig::new(Target::File(path.clone()))
        };
        let (mut sink, messages) = start(&config);
        for id in 1..=1_000 {
            sink.offer(&close(id));
            // Slowly, so that the disk is full before the queue is.
            wait_until("it is written, or the disk is full", || {
                sink.counts().queued < 15 || sink.outage().is_some()
            });
        }
        messages.wait_for("write failed: No space left on device (os error 28)");
        assert!(sink.outage().is_some());
        let counts = sink.counts();
        assert_adds_up(counts);
        assert!(counts.written > 0 && counts.dropped > 0, "{counts:?}");
        assert_eq!(counts.queued, 30);
        let before = fs::read(&path).expect("the file");
        assert_eq!(
            ids(&before).len() as u64,
            counts.written,
            "whole lines only"
        );

        // Somebody makes room: moves the full file elsewhere.
        fs::remove_file(&path).expect("removed");
        sink.reopen();
        messages.wait_for("is up again after");
        wait_until("what waited is written", || sink.counts().queued == 0);
        sink.offer(&close(2_000));
        let counts = sink.finish(long());
        assert_adds_up(counts);
        let after = fs::read(&path).expect("the file");
        let mut all = ids(&before);
        all.extend(ids(&after));
        assert_eq!(all.len() as u64, counts.written);
        // What came through, in order; the record of the loss behind what had waited; and what came
        // later.
        let first_dropped = all.len() as u64 - 1;
        assert!(all[..all.len() - 2].iter().copied().eq(1..first_dropped));
        assert_eq!(all[all.len() - 2..], [0, 2_000]);
        let text = String::from_utf8(after).expect("UTF-8");
        let loss = text.lines().rev().nth(1).expect("the record of the loss");
        let loss: serde_json::Value = serde_json::from_str(loss).expect("JSON");
        assert_eq!(loss["kind"], "loss");
        assert_eq!(loss["where"], "output");
        assert_eq!(loss["lost"], counts.dropped);
        assert_eq!(messages.all().len(), 2, "{:?}", messages.all());
    });
}

#[test]
fn room_on_the_disk_is_noticed_without_a_signal() {
    with_small_disk(|disk| {
        let filler = disk.join("filler");
        fs::write(&filler, vec![0; 60 * 1024]).expect("it fits");
        let path = disk.join("closes.jsonl");
        let (mut sink, messages) = start(&SinkConfig::new(Target::File(path.clone())));
        for id in 1..=40 {
            sink.offer(&close(id));
        }
        messages.wait_for("No space left on device");
        assert!(sink.counts().written < 40);
        fs::remove_file(&filler).expect("removed");
        messages.wait_for("is up again after");
        let counts = sink.finish(long());
        assert_eq!((counts.written, counts.dropped), (40, 0));
        let text = fs::read(&path).expect("the file");
        assert!(ids(&text).into_iter().eq(1..=40));
    });
}
