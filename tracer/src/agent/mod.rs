//! The daemon: traces, sums up, and hands everything to its outputs.

pub mod config;
