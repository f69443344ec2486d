//! What all requests have in common.

use std::time::Duration;

/// How long a request may take, as OpenTelemetry's default is.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The version of OpenTelemetry's conventions that the attributes' names come from.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.42.0";
