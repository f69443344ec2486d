//! `tcpclose leaks` against the running kernel.
//!
//! Each test has network namespaces of its own. Without the rights to make them it is skipped, and
//! reports that; with TCPCLOSE_TEST_REQUIRE=1 that is a failure.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

mod activation;
mod ages;
mod alike;
mod cgroups;
mod demo;
mod destroy;
mod environment;
mod held_namespaces;
mod idle_timeout;
mod mptcp;
mod owners;
mod ports;
mod program;
mod rights;
mod roles;
mod states;
mod strange_names;
mod stuck;
mod task_file_iter;
mod top;
mod traced;
mod triage;
mod unheld;
mod verdicts;
mod watch;
mod watching;
mod why;
