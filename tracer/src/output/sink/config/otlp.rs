//! The keys of an output of type `otlp`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use serde::Deserialize;
use thiserror::Error;

use super::host_and_port::{has_credentials, is_host_and_port};
use super::request_headers::RequestHeaders;

/// An output of type `otlp`.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// Where the receiver listens.
    pub endpoint: OtlpEndpoint,
    /// A PEM file with the certificates of the trusted authorities; the host's own by default.
    pub ca_file: Option<PathBuf>,
    /// How requests are sent.
    pub protocol: OtlpProtocol,
    /// From when the sums of metrics count.
    pub temporality: Temporality,
    /// Headers of each request, for receivers that want a token.
    pub headers: RequestHeaders,
    /// Attributes of the resource, which are added to `service.name`, `host.name` and the like or
    /// replace them.
    pub resource: BTreeMap<String, String>,
}

/// Why a key is refused.
#[derive(Debug, Error)]
pub enum InvalidOtlpKey {
    /// An endpoint contains credentials. The endpoint itself is not shown, as the password must
    /// stay private.
    #[error(
        "an endpoint must not contain a user and a password: set what the receiver needs in `headers`"
    )]
    Credentials,
    /// An endpoint ends with the path of one signal.
    #[error(
        "`{0}` is for one kind of records: leave out /v1/logs or /v1/metrics, which tcpclose appends"
    )]
    SignalPath(String),
    /// An endpoint cannot be understood.
    #[error(
        "`{0}` is not an address of a collector; write it like \"http://127.0.0.1:4318\", or with https://"
    )]
    Endpoint(String),
}

/// `http://host:port` or `https://host:port`, with a path before `/v1/logs` if the receiver has
/// one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OtlpEndpoint {
    /// The text of the configuration without a slash at its end.
    text: String,
    base: Uri,
    logs: Uri,
    metrics: Uri,
}

impl OtlpEndpoint {
    /// Returns the address to which gRPC connects.
    #[must_use]
    pub fn base(&self) -> &Uri {
        &self.base
    }

    /// Returns the address to which log records are posted.
    #[must_use]
    pub fn logs(&self) -> &Uri {
        &self.logs
    }

    /// Returns the address to which metrics are posted.
    #[must_use]
    pub fn metrics(&self) -> &Uri {
        &self.metrics
    }

    /// Returns whether TLS is used.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.base.scheme_str() == Some("https")
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for OtlpEndpoint {
    type Error = InvalidOtlpKey;

    fn try_from(text: String) -> Result<Self, InvalidOtlpKey> {
        if text.parse().is_ok_and(|uri| has_credentials(&uri)) {
            return Err(InvalidOtlpKey::Credentials);
        }
        let plain = text.trim_end_matches('/');
        if plain.ends_with("/v1/logs") || plain.ends_with("/v1/metrics") {
            return Err(InvalidOtlpKey::SignalPath(text));
        }
        let parse = |path: &str| -> Option<Uri> {
            let uri: Uri = format!("{plain}{path}").parse().ok()?;
            let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
            let has_host = uri.authority().is_some_and(is_host_and_port);
            (is_http && has_host && uri.query().is_none()).then_some(uri)
        };
        let (Some(base), Some(logs), Some(metrics)) =
            (parse(""), parse("/v1/logs"), parse("/v1/metrics"))
        else {
            return Err(InvalidOtlpKey::Endpoint(text));
        };
        Ok(Self {
            text: plain.to_owned(),
            base,
            logs,
            metrics,
        })
    }
}

/// How OTLP requests are sent. The names are those of OpenTelemetry's own configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// HTTP POST of protobuf messages.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// The gRPC protocol.
    #[serde(rename = "grpc")]
    Grpc,
}

impl OtlpProtocol {
    /// Returns the address on which a collector on this host listens by default.
    pub(super) fn default_endpoint(self) -> OtlpEndpoint {
        let port = match self {
            Self::HttpProtobuf => 4318,
            Self::Grpc => 4317,
        };
        let endpoint = OtlpEndpoint::try_from(format!("http://127.0.0.1:{port}"));
        endpoint.expect("it is an address")
    }
}

/// From when the sums of metrics count. The names are those of OpenTelemetry's own configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// From the agent's start.
    #[default]
    Cumulative,
    /// From the last export that the receiver accepted.
    Delta,
}
