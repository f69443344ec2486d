//! The table of `tcpclose leaks`.

mod send_queue;
mod table;
#[cfg(test)]
mod tests;

pub(super) use send_queue::send_queue_text;
pub(super) use table::place_text;
pub use table::{LeakTable, headline};
