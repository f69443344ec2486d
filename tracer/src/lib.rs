//! Watches TCP connections close.
//!
//! Arrows run one way: [`cli`] uses the session and the outputs; [`session`] joins the interfaces to the kernel and the
//! host ([`tcpclose_sys`]) with the pure core ([`tcpclose_core`]), which knows none of them.

// Both panic where nobody can read what they write.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod agent;
pub mod cli;
pub mod clock_offset;
mod coverage;
pub mod filter;
pub mod metrics;
mod notice;
pub mod output;
pub mod record;
pub mod recording;
pub mod session;
mod stuck;
pub mod summary;
pub mod toml_duration;
pub mod usage;
