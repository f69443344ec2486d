//! The agent's outputs against real receivers.

mod disk;
mod files;
mod findings;
mod journald;
mod process;
mod scratch;
mod sys;
mod syslog;
