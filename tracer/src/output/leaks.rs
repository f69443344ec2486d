//! What `tcpclose leaks` shows to people.

mod send_queue;
mod table;
#[cfg(test)]
mod tests;

pub(super) use send_queue::unsent;
pub use table::{LeakTable, total};
