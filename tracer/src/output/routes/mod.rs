//! The table of `tcpclose ports`.

pub(super) mod advice;
pub(super) mod history;
mod table;
#[cfg(test)]
mod tests;

pub use table::{RouteTable, headline};
pub(super) use table::{owners_text, route_text, share_text, used_text};
