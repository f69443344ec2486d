//! The core without a kernel: event sequences in, findings out, every time exact.

mod bounds;
mod doubts;
mod existing;
mod hooks;
mod inputs;
mod looks;
mod missed;
mod orphans;
mod properties;
mod resets;
mod scenarios;
mod segments;
mod socket;
mod standing;
mod stuck;
mod sweeps;
mod time_waits;
