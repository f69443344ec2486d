//! The screen of `tcpclose triage`: what is wrong with TCP closes on this host, the worst first.

#[cfg(test)]
mod tests;
mod text;
mod verdict;

pub use text::triage_text;
pub use verdict::{TracedCloses, Triage, TriageVerdict, VerdictSubject};
