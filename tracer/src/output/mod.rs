//! Findings out: JSON lines, the terminal table, and the thread that writes them.

pub mod cgroup_names;
pub mod clock;
mod duration;
pub(crate) mod escape;
mod forecast_text;
pub mod json;
mod layout;
pub mod leaks;
pub mod prometheus;
#[cfg(test)]
pub(crate) mod samples;
pub mod sink;
pub mod state;
pub mod table;
pub mod transition;
mod write_all;
pub mod writer;
