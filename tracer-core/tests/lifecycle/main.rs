//! The core without a kernel: event sequences in, findings out, every time exact.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on panics"
)]

mod bounds;
mod bytes;
mod causes;
mod dropped;
mod earlier_errors;
mod fin_times;
mod gauges;
mod handshakes;
mod hooks;
mod initial_numbers;
mod input_methods;
mod inputs;
mod keepalive_races;
mod missed;
mod orphans;
mod peers;
mod polls;
mod probes;
mod properties;
mod refused_fins;
mod reordered;
mod resets;
mod restarts;
mod scenarios;
mod seed;
mod segments;
mod socket;
mod start;
mod stuck;
mod stuck_alike;
mod stuck_states;
mod threads;
mod time_waits;
mod uncounted;
mod unheld;
mod unknown_paths;
mod unprocessed;
mod unusual_calls;
