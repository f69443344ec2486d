//! The table of `tcpclose ports`.

pub(super) mod advice;
pub(super) mod history;
mod table;
#[cfg(test)]
mod tests;

pub use table::{RouteTable, headline};
