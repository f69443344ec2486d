//! The files of dist/ against the programs that will read them: systemd-analyze, runit, shellcheck,
//! logrotate, promtool, helm. They install nothing and start nothing. What a missing program leaves
//! out is reported; with `TCPCLOSE_TEST_REQUIRE=1` that is a failure.

#![expect(clippy::panic, reason = "a test that cannot go on panics")]

mod chart;
mod logrotate;
mod prometheus;
mod report;
mod services;
mod tool;
mod unit;
