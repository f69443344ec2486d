//! The screen of `tcpclose compare`: what went wrong between two hosts, the worst first.

#[cfg(test)]
mod tests;
mod text;
mod verdict_text;
mod words;

pub(crate) use text::{compared_ladders, compared_text};
pub(crate) use verdict_text::ComparedVerdict;
pub(crate) use words::{Compared, Recorded, clock_offset};
