//! What `tcpclose leaks` shows to people.

mod table;
#[cfg(test)]
mod tests;

pub use table::{LeakTable, changes};
