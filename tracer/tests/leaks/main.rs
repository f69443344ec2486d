//! `tcpclose leaks` against the running kernel.
//!
//! Each test has network namespaces of its own. Without the rights to make them it is skipped, and reports that; with
//! TCPCLOSE_TEST_REQUIRE=1 that is a failure.

mod ages;
mod alike;
mod cgroups;
mod demo;
mod environment;
mod owners;
mod program;
mod rights;
mod strange_names;
mod stuck;
mod sys;
mod task_file_iter;
mod traced;
mod verdicts;
mod watch;
mod watching;
