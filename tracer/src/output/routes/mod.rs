//! The table of `tcpclose ports`.

mod advice;
mod table;
#[cfg(test)]
mod tests;

pub use table::{RouteTable, headline};
