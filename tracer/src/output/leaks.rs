//! What `tcpclose leaks` shows to people.

mod table;
#[cfg(test)]
mod tests;
mod unsent;

pub use table::{Changed, LeakTable, total};
pub(super) use unsent::unsent;
