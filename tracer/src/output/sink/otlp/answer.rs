//! What a receiver answers to a request, or why there is no answer.

use crate::output::sink::transport::Unavailable;

/// Characters of a receiver's text that messages show.
const PRINTED_CHARS: usize = 200;

/// A receiver's answer to a request that it accepted.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// How many records or data points of the request it rejected.
    pub(super) rejected: i64,
    /// Why it rejected them, in printable form.
    pub(super) message: String,
}

impl Answer {
    /// Takes what a receiver answers.
    pub(super) fn new(rejected: i64, message: &str) -> Self {
        Self {
            rejected,
            message: printable(message),
        }
    }
}

/// Returns a receiver's text in printable form, cut to a reasonable length.
pub(super) fn printable(text: &str) -> String {
    text.escape_debug().take(PRINTED_CHARS).collect()
}

/// Why a request failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The receiver refuses it for good.
    Refused(String),
    /// It may be accepted later.
    Unavailable(Unavailable),
    /// The connection broke before there was an answer.
    Broken(String),
}
