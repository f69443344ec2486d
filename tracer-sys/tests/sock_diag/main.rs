//! `kernel::sock_diag` and `kernel::netns` against the running kernel.
//!
//! Each test has network namespaces of its own. Without the rights to make them it is skipped and
//! reports that; with TCPCLOSE_TEST_REQUIRE=1 that is a failure.

mod close_wait;
mod connections;
mod namespaces;
mod opening;
mod sockets;
