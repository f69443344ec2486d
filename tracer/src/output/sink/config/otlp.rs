//! What an operator says about an OTLP receiver.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use hyper::Uri;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::Authority;
use serde::Deserialize;

/// An output of type `otlp`.
#[derive(Clone, Debug, PartialEq)]
pub struct OtlpConfig {
    /// Where the receiver listens.
    pub endpoint: OtlpEndpoint,
    /// Certificates of the authorities that are trusted, in PEM; the host's own where the configuration does not say.
    pub ca_file: Option<PathBuf>,
    /// How requests are sent.
    pub protocol: OtlpProtocol,
    /// What the sums of metrics count from.
    pub temporality: Temporality,
    /// Sent with each request, for receivers that want a token.
    pub headers: OtlpHeaders,
    /// Attributes of the resource besides `service.name`, `host.name` and the like, or instead of them.
    pub resource: BTreeMap<String, String>,
}

/// `http://host:port` or `https://host:port`, with a path in front of `/v1/logs` where the receiver wants one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct OtlpEndpoint {
    /// As it was written, without a slash at its end.
    text: String,
    base: Uri,
    logs: Uri,
    metrics: Uri,
}

impl OtlpEndpoint {
    /// Where gRPC connects to.
    #[must_use]
    pub fn base(&self) -> &Uri {
        &self.base
    }

    /// Where log records are posted.
    #[must_use]
    pub fn logs(&self) -> &Uri {
        &self.logs
    }

    /// Where metrics are posted.
    #[must_use]
    pub fn metrics(&self) -> &Uri {
        &self.metrics
    }

    /// Whether there is TLS.
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
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // A message would show the password, which is nobody's business.
        let has_user = |uri: Uri| {
            uri.authority()
                .is_some_and(|authority| authority.as_str().contains('@'))
        };
        if text.parse().is_ok_and(has_user) {
            return Err(
                "an endpoint has no user and password: put what the receiver wants into `headers`"
                    .to_owned(),
            );
        }
        let plain = text.trim_end_matches('/');
        if plain.ends_with("/v1/logs") || plain.ends_with("/v1/metrics") {
            return Err(format!(
                "`{text}` is for one kind of records: leave /v1/logs or /v1/metrics away, which tcpclose puts behind it"
            ));
        }
        let parse = |path: &str| -> Option<Uri> {
            let uri: Uri = format!("{plain}{path}").parse().ok()?;
            let is_known = matches!(uri.scheme_str(), Some("http" | "https"));
            (is_known && uri.authority().is_some_and(is_place) && uri.query().is_none())
                .then_some(uri)
        };
        let (Some(base), Some(logs), Some(metrics)) =
            (parse(""), parse("/v1/logs"), parse("/v1/metrics"))
        else {
            return Err(format!(
                "`{text}` is no address of a collector: write it like \"http://127.0.0.1:4318\", or with https://"
            ));
        };
        Ok(Self {
            text: plain.to_owned(),
            base,
            logs,
            metrics,
        })
    }
}

/// Whether it has a host, and a port that there is if it has one.
fn is_place(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    let port = rest.map(|rest| rest.strip_prefix(':'));
    let is_port = |port: &str| port.parse().is_ok_and(|port: u16| port > 0);
    !authority.host().is_empty()
        && (authority.as_str() == authority.host() || port.flatten().is_some_and(is_port))
}

/// Headers of HTTP, or metadata of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct OtlpHeaders(HeaderMap);

impl OtlpHeaders {
    /// All of them.
    #[must_use]
    pub fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, String>> for OtlpHeaders {
    type Error = String;

    fn try_from(written: BTreeMap<String, String>) -> Result<Self, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in written {
            let (Ok(key), Ok(mut value)) =
                (HeaderName::try_from(&name), HeaderValue::try_from(value))
            else {
                return Err(format!(
                    "`{name}` with that value cannot be a header of HTTP"
                ));
            };
            // Most are tokens, which no message may show.
            value.set_sensitive(true);
            headers.insert(key, value);
        }
        Ok(Self(headers))
    }
}

/// How OTLP requests are sent. The names are those of OpenTelemetry's own configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum OtlpProtocol {
    /// POST of protobuf messages.
    #[default]
    #[serde(rename = "http/protobuf")]
    HttpProtobuf,
    /// gRPC.
    #[serde(rename = "grpc")]
    Grpc,
}

impl OtlpProtocol {
    /// Where a collector of this host listens.
    pub(super) fn default_endpoint(self) -> OtlpEndpoint {
        let port = match self {
            Self::HttpProtobuf => 4318,
            Self::Grpc => 4317,
        };
        let endpoint = OtlpEndpoint::try_from(format!("http://127.0.0.1:{port}"));
        endpoint.expect("it is an address")
    }
}

/// What the sums of metrics count from. The names are those of OpenTelemetry's own configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Temporality {
    /// From the start; anew after a summary that got lost.
    #[default]
    Cumulative,
    /// From the summary before.
    Delta,
}
