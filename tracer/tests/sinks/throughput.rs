//! How many records a second each output takes, with the real receiver on this host. Not a test of
//! anything: it is run by hand, in the release profile, for the table in docs/outputs.md:
//!
//!     cargo test --release -p tcpclose --test sinks -- --ignored --nocapture throughput

use std::time::Instant;

use crate::collector::{BOTH, Collector};
use crate::findings::{close, long, start};
use crate::http::Receiver;
use crate::journald::with_journal;
use crate::syslog::Rsyslog;
use tcpclose_kit::scratch::Scratch;

/// As many as fit the default queue.
const RECORDS: u64 = 65_536;

const ROUNDS: usize = 3;

/// Prints the best of some rounds, and its ratio to `file`.
fn measure(name: &str, keys: &str, file: Option<f64>) -> f64 {
    let config = toml::from_str(keys).unwrap_or_else(|error| panic!("{error}"));
    let findings: Vec<_> = (0..RECORDS).map(close).collect();
    let round = |_| {
        let (mut sink, messages) = start(&config);
        let begun = Instant::now();
        for finding in &findings {
            sink.offer(finding);
        }
        let counts = sink.finish(long());
        assert_eq!(counts.written, RECORDS, "{name}: {:?}", messages.all());
        RECORDS as f64 / begun.elapsed().as_secs_f64()
    };
    let rate = (0..ROUNDS).map(round).fold(0.0, f64::max);
    let ratio = rate / file.unwrap_or(rate);
    println!("{name:<20} {rate:>8.0} closes a second, {ratio:.2} of file");
    rate
}

#[test]
#[ignore = "a measurement"]
fn throughput() {
    let scratch = Scratch::new();
    let path = scratch.path("closes").display().to_string();
    let file = Some(measure(
        "file",
        &format!("type = 'file'\npath = '{path}'"),
        None,
    ));
    with_journal(|journal| {
        let _journald = journal.start();
        measure("journald", "type = 'journald'", file);
    });
    if let Some(rsyslog) = Rsyslog::new() {
        let _rsyslog = rsyslog.start();
        for (name, address) in ["unix datagrams", "unix stream", "udp", "tcp"]
            .iter()
            .zip(rsyslog.addresses())
        {
            let keys = format!("type = 'syslog'\naddress = '{address}'");
            measure(&format!("syslog, {name}"), &keys, file);
        }
    }
    for protocol in BOTH {
        let collector = Collector::start(protocol);
        let (name, address) = (protocol.name(), collector.address);
        let keys = format!("type = 'otlp'\nprotocol = '{name}'\nendpoint = 'http://{address}'");
        measure(&format!("otlp, {name}"), &keys, file);
    }
    for compression in ["gzip", "none"] {
        let receiver = Receiver::start();
        let keys = format!(
            "type = 'http'\nurl = 'http://{}'\ncompression = '{compression}'",
            receiver.address
        );
        measure(&format!("http, {compression}"), &keys, file);
    }
}
