//! Two hosts, each recorded for itself, and a third one between them that rejects, drops FINs,
//! translates addresses and forgets: `tcpclose compare` shows what neither recording does alone.

use std::fs;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::firewall::nft_in;
use crate::harness::program;
use crate::harness::routed::{MIDDLE, Routed};
use crate::harness::sockets::{expect, ports_of, read_to_end, send};
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::skip;

const SCHEMA: &str = include_str!("../../../docs/tcpclose.schema.json");

/// After so many seconds of silence the middle forgets an established connection.
const FORGETS: &str = "/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_established";

/// Longer than the middle remembers, and than an endpoint may take to be informed of a close.
const LONG_ENOUGH: Duration = Duration::from_millis(2_300);

/// A recording of one namespace, under way.
fn record(ns: &NetNs, file: &Path) -> ChildProcess {
    let mut command = program::command();
    command.arg("record").arg(file).arg("--netns");
    let record = ChildProcess::spawn(command.arg(ns.inode().to_string()));
    let begun = |lines: &[String]| {
        let mut lines = lines.iter();
        lines.any(|line| line.contains("recording;")).then_some(())
    };
    let stderr = &record.stderr;
    assert!(stderr.wait(begun).is_some(), "{}", stderr.text());
    record
}

fn stop(mut record: ChildProcess) {
    record.interrupt();
    let code = record.wait().code();
    assert_eq!(code, Some(0), "{}", record.stderr.text());
}

/// The addresses of connections that are made through the middle's own are translated, both ways.
fn translate(routed: &Routed, server: SocketAddr) -> bool {
    let port = server.port();
    let rules = format!(
        "table ip nat {{\nchain before {{\ntype nat hook prerouting priority -100\n\
         ip daddr {MIDDLE} tcp dport {port} dnat to {}\n}}\n\
         chain after {{\ntype nat hook postrouting priority 100\nct status dnat masquerade\n}}\n}}\n",
        server.ip()
    );
    nft_in(&routed.middle, &rules)
}

/// What the middle does to what these two clients send from now on.
fn interfere(routed: &Routed, rejected: u16, without_fins: u16) -> bool {
    let rules = format!(
        "table ip firewall {{\nchain forward {{\ntype filter hook forward priority 0\n\
         tcp sport {rejected} reject with tcp reset\n\
         tcp sport {without_fins} tcp flags & fin == fin drop\n}}\n}}\n"
    );
    nft_in(&routed.middle, &rules)
}

fn compare(a: &Path, b: &Path, args: &[&str]) -> (Option<i32>, String) {
    let mut command = program::command();
    let ended = tcpclose_kit::process::run(command.arg("compare").args([a, b]).args(args));
    assert_eq!(ended.stderr, "");
    (ended.code, ended.stdout)
}

/// The verdicts of this kind at this endpoint: how many connections.
fn count(compared: &Value, about: &str, at: &str) -> u64 {
    let verdicts = compared["verdicts"].as_array().unwrap().iter();
    let these = verdicts.filter(|verdict| verdict["about"] == about && verdict["at"] == at);
    these
        .map(|verdict| verdict["count"].as_u64().unwrap())
        .sum()
}

#[test]
fn what_the_middle_did_is_proven_by_both_recordings() {
    let Some(routed) = Routed::new() else { return };
    if kernel_version() < (5, 12) {
        return skip("before 5.12 sockets have no cookie here, and connections no pair id");
    }
    let (listener, server) = routed.listen();
    let through_the_middle = SocketAddr::from((MIDDLE, server.port()));
    if !translate(&routed, server) {
        return;
    }
    if routed.middle.run(|| fs::write(FORGETS, "1")).is_err() {
        return skip("no conntrack whose timeouts can be set");
    }
    let scratch = Scratch::new();
    let (a, b) = (scratch.path("a.rec"), scratch.path("b.rec"));
    let records = [record(&routed.client, &a), record(&routed.server, &b)];
    let connect = |to: SocketAddr| {
        let client = routed.client.run(|| TcpStream::connect(to)).unwrap();
        let (server, _) = listener.accept().unwrap();
        send(&client, "ping");
        expect(&server, "ping");
        (client, server)
    };

    // One that nothing happens to, with its addresses and with others.
    for to in [server, through_the_middle] {
        let (client, server) = connect(to);
        drop(client);
        assert_eq!(read_to_end(&server), 0);
    }
    let rejected = connect(server);
    let without_fins = connect(server);
    let forgotten = connect(through_the_middle);
    let ports = [&rejected.0, &without_fins.0].map(|client| ports_of(client).client);
    if !interfere(&routed, ports[0], ports[1]) {
        return;
    }
    send(&rejected.0, "again");
    without_fins.0.shutdown(Shutdown::Write).unwrap();
    thread::sleep(LONG_ENOUGH);
    // The middle takes this for its own, and has no such connection.
    send(&forgotten.1, "are you there?");
    thread::sleep(LONG_ENOUGH);
    for record in records {
        stop(record);
    }

    let (code, json) = compare(&a, &b, &["--json"]);
    let compared: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(compared["kind"], "compare", "{json}");
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = schema
        .iter_errors(&compared)
        .map(|it| it.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?} in {json}");
    assert_eq!(compared["joined"], 5, "{json}");
    assert_eq!(code, Some(1), "{json}");
    for (about, at, expected) in [
        ("reset_from_path", "a", 1),
        ("reset_from_path", "b", 1),
        ("half_open", "a", 1),
        ("half_open", "b", 1),
        ("fin_never_arrived", "b", 1),
        ("fin_never_arrived", "a", 0),
        ("reset_from_path", "both", 0),
    ] {
        assert_eq!(
            count(&compared, about, at),
            expected,
            "{about} at {at}: {json}"
        );
    }
    // Both recordings have the same clock.
    let bound = |name| compared["clocks"]["offset_ms"][name].as_f64().unwrap();
    let (low, high) = (bound("low"), bound("high"));
    assert!(
        low <= 0.1 && high >= -0.1 && low > -5_000.0 && high < 5_000.0,
        "{json}"
    );
    let translations = compared["translations"].as_array().unwrap();
    assert_eq!(translations.len(), 2, "{json}");
    assert_eq!(translations[0]["own"]["addr"], "10.91.0.2", "{json}");
    assert_eq!(translations[0]["seen"]["addr"], "10.92.0.1", "{json}");
    assert_eq!(translations[1]["own"]["addr"], "10.92.0.2", "{json}");
    assert_eq!(
        translations[1]["seen"]["addr"],
        MIDDLE.to_string(),
        "{json}"
    );

    // The other way round all is mirrored, and a filter draws what it lets pass.
    let port = ports[0].to_string();
    let (code, text) = compare(&b, &a, &["--port", &port]);
    assert_eq!(code, Some(1), "{text}");
    for line in [
        " 1. 1 connection: B received a RST that A never sent",
        " 2. 1 connection: reset at B and alive at A (half-open)",
        "(still open)",
        "RST",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
