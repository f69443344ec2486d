//! What a receiver answers to a request, or why there is no answer.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsPartialSuccess;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsPartialSuccess;

use crate::output::sink::http_client::printable;

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
