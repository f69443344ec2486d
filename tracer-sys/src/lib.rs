//! tcpclose's interfaces to the kernel and the host. All `unsafe` code of its user space is here.

#![cfg_attr(not(test), warn(clippy::print_stderr, clippy::print_stdout))]

mod absent_keys;
#[doc(hidden)]
pub mod fuzzing;
pub mod host;
pub mod kernel;
