//! The table of `tcpclose leaks`.

mod holder_evidence_text;
mod opening_threads;
mod send_queue;
mod table;
#[cfg(test)]
mod tests;
mod why;

pub(super) use holder_evidence_text::evidence_text;
pub(super) use opening_threads::opening_threads_text;
pub(super) use send_queue::send_queue_text;
pub(super) use table::location_text;
pub use table::{LeakTable, headline};
pub(super) use why::{is_one_silence, remedy_text, why_text};
