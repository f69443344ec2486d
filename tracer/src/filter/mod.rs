//! Forms of the one connection filter
//! ([`ConnectionFilter`](tcpclose_core::filter::ConnectionFilter)): the command line's and the
//! configuration's.

pub mod args;
pub mod config;
pub(crate) mod containers;
mod port_arg;
