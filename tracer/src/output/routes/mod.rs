//! The table of `tcpclose ports`.

pub(super) mod advice;
mod table;
#[cfg(test)]
mod tests;

pub use table::{RouteTable, headline};
