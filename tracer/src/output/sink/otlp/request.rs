//! What all requests have in common.

use std::time::Duration;

/// How long a request may take, as OpenTelemetry's default is.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The name and version of the sender in each request.
pub(super) const USER_AGENT: &str = concat!("tcpclose/", env!("CARGO_PKG_VERSION"));

/// The version of OpenTelemetry's conventions that the attributes' names come from.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";

/// The largest answer that is read. It has a few numbers and a sentence.
pub(super) const MAX_RESPONSE_LEN: usize = 64 * 1024;
