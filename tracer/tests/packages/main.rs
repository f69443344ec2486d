//! The packages as users install them, each in a root of its own.
//!
//! `cargo xtask package` makes them and `TCPCLOSE_PACKAGES` names their folder; `cargo xtask test
//! --only package` does both. Without it, the tests skip themselves.

mod agent;
mod built;
mod deb;
mod image;
mod old_userland;
mod receiver;
mod root;
mod rpm;
mod tarball;
