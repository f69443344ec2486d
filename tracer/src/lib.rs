//! Watches TCP connections close.
//!
//! Arrows run one way: [`cli`] uses the session and the outputs; [`session`] joins the interfaces
//! to the kernel and the host ([`tcpclose_sys`]) with the pure core ([`tcpclose_core`]), which
//! knows none of them.

#![forbid(unsafe_code)]
// Both panic where stdout or stderr is closed.
#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

pub mod agent;
mod agent_socket;
pub mod cgroup_names;
pub mod cli;
pub mod clock_offset;
mod coverage;
mod duration_arg;
mod error_chain;
mod escape;
mod established;
pub mod filter;
mod flight_recorder;
mod json_lines;
pub mod metrics;
mod namespace_walk;
mod notice;
mod other_namespaces;
pub mod output;
pub mod output_status;
pub mod pair_id;
pub mod pair_key_source;
mod plural;
mod ports;
pub mod record;
pub mod recording;
mod safe_path;
pub mod sampling;
pub mod session;
mod small_file;
mod sockstat;
mod stuck;
pub mod summary;
mod task_file_iter;
pub mod toml_duration;
pub mod usage;
