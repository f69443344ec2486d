//! The agent's outputs against real receivers.

#[cfg(feature = "otlp")]
mod collector;
mod disk;
mod files;
mod findings;
mod journald;
#[cfg(feature = "otlp")]
mod otlp;
mod syslog;
#[cfg(feature = "otlp")]
mod throughput;
#[cfg(feature = "otlp")]
mod tls;
