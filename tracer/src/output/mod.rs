//! Findings out: JSON lines, the terminal tables, and the thread that writes them.

mod cause_text;
pub mod clock;
pub mod close_tally;
mod close_text;
pub(crate) mod compare;
pub(crate) mod duration;
mod forecast_text;
mod idle_timeout_text;
pub mod json;
mod ladder;
mod layout;
pub mod leaks;
mod loss_message;
mod numbered_verdict;
mod owner_text;
mod paragraph;
mod process_text;
pub mod prometheus;
pub(crate) mod report;
pub mod routes;
#[cfg(test)]
pub(crate) mod samples;
pub mod sink;
pub mod stuck_digest;
#[cfg(test)]
pub(crate) mod summary_samples;
pub mod symbols;
pub mod table;
pub mod terminal;
pub(crate) mod top;
pub mod transition;
pub mod triage;
pub(crate) mod unbuffered_stdout;
mod write_all;
pub mod writer;

pub use loss_message::loss_message;

/// How records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table
    #[default]
    Table,
    /// JSON lines: one object per line
    Json,
}
