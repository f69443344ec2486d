//! The files of dist/ against the programs that will read them: systemd-analyze, logrotate, promtool. They install nothing
//! and start nothing. What a missing program leaves out is reported; with `TCPCLOSE_TEST_REQUIRE=1` that is a failure.

mod logrotate;
mod prometheus;
mod tool;
mod unit;
