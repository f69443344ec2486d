//! A scan, the tracer and a recording of it describe the same stuck socket alike, also one that is
//! bound to an interface, which the kernel finds by that alone.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use socket2::SockRef;

use crate::program::leaks;
use crate::stuck::{Pair, Sleeper};
use crate::traced::{in_traced_network, leak, watch_as_json};
use tcpclose_kit::TestResult;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::scratch::Scratch;

/// What must be the same: all but the time of the record, and with it the age, and what only a scan
/// looks for. An age that is estimated differs by a tick of the kernel's clock from look to look.
fn described(mut record: Value) -> Value {
    record["ts"].take();
    for field in ["since", "age_ms", "age_at_most_ms", "why"] {
        record["stuck"][field].take();
    }
    record
}

/// Scans once for what is stuck for as long as the tracer waits.
fn scanned(netns: &str) -> std::io::Result<CommandOutput> {
    leaks(&["--min-age", "300ms", "--netns", netns, "--format", "json"])
        .output()
        .map(CommandOutput::from)
}

#[test]
fn a_socket_is_described_alike_by_a_scan_the_tracer_and_a_replay() -> TestResult {
    in_traced_network(|netns| {
        for bound in [false, true] {
            let scratch = Scratch::new();
            let recording = scratch.path("stuck.rec");
            let recording = recording.to_str().ok_or("a path of words")?;
            let server = Pair::new()?.closed_after(b"hello", Some(2))?;
            if bound {
                SockRef::from(&server).bind_device(Some(b"lo"))?;
            }
            let sleeper = Sleeper::with(&server, &[207])?;
            drop(server);
            thread::sleep(Duration::from_millis(400));

            let scan = scanned(netns)?.record();
            assert_eq!(scan["event"], "ongoing");
            assert_eq!(scan["owner"]["pid"], sleeper.pid());
            assert_eq!(scan["stuck"]["verdict"], "eof_unread");

            let mut watch = watch_as_json(netns, &["--record", recording])?;
            let traced = leak(&mut watch)?;
            assert_eq!(described(traced.clone()), described(scan), "bound: {bound}");
            assert_eq!(watch.stop()?, Some(0));

            let mut replay = leaks(&["--watch", "1s", "--format", "json", "--replay", recording]);
            let replayed = CommandOutput::from(replay.stderr(Stdio::null()).output()?);
            assert_eq!(replayed.record(), traced, "bound: {bound}");
            drop(sleeper);
        }
        Ok(())
    })
}

#[test]
fn a_socket_bound_to_an_interface_stays_stuck_until_it_is_closed() -> TestResult {
    in_traced_network(|netns| {
        let mut watch = watch_as_json(netns, &[])?;
        let server = Pair::forgotten()?;
        SockRef::from(&server).bind_device(Some(b"lo"))?;
        let opened = leak(&mut watch)?;
        assert_eq!(opened["event"], "opened");
        assert_eq!(opened["stuck"]["age_known"], "observed");
        assert_eq!(scanned(netns)?.records().len(), 1);
        drop(server);
        assert_eq!(leak(&mut watch)?["stuck"]["resolved_by"], "closed");
        assert_eq!(scanned(netns)?.records().len(), 0);
        Ok(())
    })
}
