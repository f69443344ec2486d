//! What a receiver answers to a request, or why there is no answer.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

use crate::output::sink::transport::Unavailable;

/// Characters of a receiver's text that messages show.
const MAX_SHOWN_CHARS: usize = 200;

/// A receiver's answer to a request that it accepted.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// How many records or data points of the request it rejected.
    pub(super) rejected: i64,
    /// Why it rejected them, in printable form.
    pub(super) message: String,
}

impl Answer {
    /// Returns the answer to log records.
    pub(super) fn from_logs(partial: Option<ExportLogsPartialSuccess>) -> Self {
        let partial = partial.unwrap_or_default();
        Self::new(partial.rejected_log_records, &partial.error_message)
    }

    /// Returns the answer to metrics.
    pub(super) fn from_metrics(partial: Option<ExportMetricsPartialSuccess>) -> Self {
        let partial = partial.unwrap_or_default();
        Self::new(partial.rejected_data_points, &partial.error_message)
    }

    fn new(rejected: i64, message: &str) -> Self {
        Self {
            rejected,
            message: printable(message),
        }
    }
}

/// Returns a receiver's text in printable form, cut to a reasonable length.
pub(super) fn printable(text: &str) -> String {
    text.escape_debug().take(MAX_SHOWN_CHARS).collect()
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
