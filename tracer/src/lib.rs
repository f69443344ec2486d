//! Watches TCP connections close.
//!
//! Arrows run one way: `cli` uses the session and the outputs; [`session`] joins the doors to the kernel
//! ([`kernel`]) with the pure core ([`lifecycle`]), which knows none of them.

// Both panic where nobody can read what they write.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod agent;
pub mod cli;
pub mod host;
pub mod kernel;
pub mod leaks;
pub mod lifecycle;
pub mod output;
pub mod recording;
pub mod session;
mod stderr;
