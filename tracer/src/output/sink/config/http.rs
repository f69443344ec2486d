//! The keys of an output of type `http`.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use hyper::Uri;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use super::host_and_port::{has_credentials, is_host_and_port};
use super::request_headers::RequestHeaders;
use crate::toml_duration::duration;

/// The largest number of records in one request.
const MAX_BATCH: usize = 65_536;

/// The longest time to collect records for a request: a summary is not to be later than this.
const MAX_BATCH_DELAY: Duration = Duration::from_secs(60);

/// The longest time to wait for an answer. A delivery that takes half a minute is an outage.
const MAX_TIMEOUT: Duration = Duration::from_secs(12);

/// An output of type `http`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConfig {
    /// Where the records are posted.
    pub url: HttpUrl,
    /// A PEM file with the certificates of the trusted authorities; the host's own by default.
    pub ca_file: Option<PathBuf>,
    /// Headers of each request, for receivers that want a token.
    pub headers: RequestHeaders,
    /// How the bodies are compressed.
    pub compression: Compression,
    /// The largest number of records in one request.
    pub batch: Batch,
    /// How long to collect records for one request.
    pub batch_delay: BatchDelay,
    /// How long to wait for an answer.
    pub timeout: AnswerTimeout,
}

/// Why a key is refused.
#[derive(Debug, Error)]
pub enum InvalidHttpKey {
    /// A URL contains credentials. The URL itself is not shown, as the password must stay private.
    #[error(
        "a `url` must not contain a user and a password: set what the receiver needs in `headers` or `header_files`"
    )]
    Credentials,
    /// A URL cannot be understood. It is not shown, as it may contain a password.
    #[error("this is not an address to post to; write it like \"http://127.0.0.1:8123/?query=…\"")]
    Url,
    /// A batch is empty or too large.
    #[error("a `batch` has 1 to {MAX_BATCH} records")]
    Batch,
}

/// `http://host:port/path?query` or the same with `https`. The query may contain spaces and
/// quotes, as SQL does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HttpUrl(Uri);

impl HttpUrl {
    /// Returns the address.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

/// Shows the address without its query, which may be long or contain a password.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        let path = self.0.path().trim_end_matches('/');
        write!(f, "{scheme}://{authority}{path}")
    }
}

impl TryFrom<String> for HttpUrl {
    type Error = InvalidHttpKey;

    fn try_from(text: String) -> Result<Self, InvalidHttpKey> {
        let (address, query) = match text.split_once('?') {
            Some((address, query)) => (address, Some(query)),
            None => (&*text, None),
        };
        let query = query.map_or_else(String::new, |query| format!("?{}", encoded(query)));
        let uri: Option<Uri> = format!("{address}{query}").parse().ok();
        if uri.as_ref().is_some_and(has_credentials) {
            return Err(InvalidHttpKey::Credentials);
        }
        let is_complete = |uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(is_host_and_port)
        };
        let uri = uri.filter(|uri| is_complete(uri) && !text.contains('#'));
        uri.map(Self).ok_or(InvalidHttpKey::Url)
    }
}

/// Encodes the characters that a query must not have as they are. What is encoded already stays.
fn encoded(query: &str) -> String {
    let mut text = String::with_capacity(query.len());
    for byte in query.bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                text.push_str(&format!("%{byte:02X}"));
            }
            b'!'..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// How the bodies of requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// With gzip, which every receiver reads.
    #[default]
    Gzip,
    /// Not at all.
    None,
}

/// The largest number of records in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct Batch(pub NonZeroUsize);

impl Default for Batch {
    fn default() -> Self {
        Self(NonZeroUsize::new(5_000).expect("not zero"))
    }
}

impl TryFrom<usize> for Batch {
    type Error = InvalidHttpKey;

    fn try_from(records: usize) -> Result<Self, InvalidHttpKey> {
        let records = NonZeroUsize::new(records).filter(|records| records.get() <= MAX_BATCH);
        records.map(Self).ok_or(InvalidHttpKey::Batch)
    }
}

/// How long to collect records for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchDelay(pub Duration);

impl Default for BatchDelay {
    fn default() -> Self {
        Self(Duration::from_secs(1))
    }
}

impl<'de> Deserialize<'de> for BatchDelay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let delay = duration(deserializer)?;
        if delay > MAX_BATCH_DELAY {
            return Err(de::Error::custom(
                "records may be collected for \"60s\" at most",
            ));
        }
        Ok(Self(delay))
    }
}

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnswerTimeout(pub Duration);

impl Default for AnswerTimeout {
    fn default() -> Self {
        Self(Duration::from_secs(10))
    }
}

impl<'de> Deserialize<'de> for AnswerTimeout {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let timeout = duration(deserializer)?;
        if !(Duration::from_millis(100)..=MAX_TIMEOUT).contains(&timeout) {
            return Err(de::Error::custom("a timeout is \"100ms\" to \"12s\""));
        }
        Ok(Self(timeout))
    }
}
