//! `tcp_max_tw_buckets`: the kernel makes no further minisocket, and the end is closed at once.

use std::fs;
use std::time::Instant;

use crate::harness::families::for_ipv4_and_ipv6;
use crate::harness::lab::Lab;
use crate::harness::minisockets;
use crate::harness::sockets::Family;
use crate::harness::timeouts::WAIT_TIMEOUT;
use crate::time_wait::close_first;
use tcpclose_parity::segment::Endpoint::Client;

for_ipv4_and_ipv6!(
    an_overflow_of_time_wait_is_reported,
    an_overflow_in_another_namespace_is_reported,
);

fn an_overflow_of_time_wait_is_reported(family: Family) {
    if let Some(lab) = Lab::on_loopback(family) {
        overflow(lab);
    }
}

/// The program does not run in the namespace that it watches.
fn an_overflow_in_another_namespace_is_reported(family: Family) {
    if let Some(lab) = Lab::watched_from_outside(family) {
        overflow(lab);
    }
}

fn overflow(lab: Lab) {
    let before = overflows(&lab);
    lab.set("tcp_max_tw_buckets", 1);
    let first = lab.converse("ping", "pong");
    close_first(&lab, &first, Client);

    let second = lab.converse("ping", "pong");
    let since = Instant::now();
    second.client.shutdown(std::net::Shutdown::Write).unwrap();
    second.server.shutdown(std::net::Shutdown::Write).unwrap();
    minisockets::wait_for_state(&lab.ns, (second.ports, Client), None, since, WAIT_TIMEOUT);
    assert_eq!(overflows(&lab), before + 1, "TCPTimeWaitOverflow");

    lab.close(second.ports, Client)
        .has("/close/initiator", "local");
    let reported = lab.time_wait(second.ports, Client);
    reported
        .ended("overflow")
        .has("/time_wait/dwell_ms", 0.0)
        .has("/time_wait/error_ms", 0.0);
    assert_eq!(lab.time_waits(first.ports, Client), [], "it had its place");
    lab.finish();
}

fn overflows(lab: &Lab) -> u64 {
    let text = lab
        .ns
        .run(|| fs::read_to_string("/proc/thread-self/net/netstat"))
        .expect("the namespace's counters");
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let mut words = || lines.next().expect("names and values").split(' ');
    let (names, values) = (words(), words());
    let mut pairs = names.zip(values);
    let found = pairs.find(|(name, _)| *name == "TCPTimeWaitOverflow");
    found.expect("the counter").1.parse().expect("a number")
}
