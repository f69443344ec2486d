//! The core without a kernel: event sequences in, findings out, every time exact.

mod bounds;
mod gauges;
mod hooks;
mod inputs;
mod missed;
mod orphans;
mod polls;
mod probes;
mod properties;
mod resets;
mod scenarios;
mod seed;
mod segments;
mod socket;
mod stuck;
mod stuck_alike;
mod time_waits;
mod unknown_paths;
