//! The agent's outputs against real receivers.

#![expect(clippy::panic, reason = "a test that cannot go on panics")]
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

#[cfg(feature = "otlp")]
mod collector;
mod disk;
mod files;
mod findings;
#[cfg(feature = "http")]
mod http;
mod journald;
#[cfg(feature = "otlp")]
mod otlp;
mod strangers;
mod syslog;
#[cfg(feature = "otlp")]
mod throughput;
#[cfg(feature = "otlp")]
mod tls;
