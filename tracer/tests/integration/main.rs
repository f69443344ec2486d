//! Scenarios against the running kernel, each in a network namespace of its own, as root. What
//! cannot run here is skipped and reports that; `TCPCLOSE_TEST_REQUIRE=1` makes that a failure.
//!
//! Every scenario captures its own packets: what tcpclose records is compared with what was on the
//! wire. `TCPCLOSE_BIN` names another program to test than the one cargo has built.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod harness;

mod accept_queue;
mod attached_late;
mod bursts;
mod classic;
mod closed_window;
mod compare;
mod confined;
mod crossing;
mod destroyed;
mod disconnected;
mod doctor;
mod environment;
mod filters;
mod fin_with_data;
mod firewall;
mod four_way;
mod half_close;
mod half_reset;
mod hostile_names;
mod icmp;
mod interrupted;
mod keepalive_races;
mod mariadb;
mod minisockets;
mod owners;
mod peers;
mod port_reuse;
mod recordings;
mod refused;
mod repaired;
mod resets;
mod start;
mod stopping;
mod three_way;
mod time_wait;
mod timeouts;
mod transitions;
mod unprocessed;
mod unusual_calls;
mod usage;
