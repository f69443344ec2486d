//! The table of `tcpclose leaks`.

mod opening_threads;
mod send_queue;
mod table;
#[cfg(test)]
mod tests;
mod where_text;
mod why;

pub(super) use opening_threads::opening_threads_text;
pub(super) use send_queue::send_queue_text;
pub(super) use table::place_text;
pub use table::{LeakTable, headline};
pub(super) use where_text::where_text;
pub(super) use why::{is_one_silence, remedy_text, why_text};
