//! Why a request failed.

use crate::error_chain::error_chain;
use crate::output::sink::transport::Unavailable;

use super::tls;

/// Characters of a receiver's text that messages show.
const MAX_SHOWN_CHARS: usize = 200;

/// Why a request failed.
#[derive(Debug)]
pub(in crate::output::sink) enum Failure {
    /// The receiver refuses it for good.
    #[cfg_attr(
        not(feature = "otlp"),
        expect(dead_code, reason = "OTLP alone decides here what is for good")
    )]
    Refused(String),
    /// The receiver has not accepted it, and may do so later.
    Unavailable(Unavailable),
    /// The connection broke before there was an answer: the receiver may have accepted it.
    Broken(String),
    /// There was no answer, or none that can be read: the receiver may have accepted it.
    Unanswered(Unavailable),
}

/// Returns a receiver's text in printable form, cut to a reasonable length.
pub(in crate::output::sink) fn printable(text: &str) -> String {
    text.escape_debug().take(MAX_SHOWN_CHARS).collect()
}

/// Returns an error's message with those of its causes. An error of TLS is explained instead.
pub(in crate::output::sink) fn failure_text(error: &(dyn std::error::Error + 'static)) -> String {
    tls::explain(error).unwrap_or_else(|| error_chain(error))
}
