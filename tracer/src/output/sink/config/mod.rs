//! The configuration of an output, as serde reads it from the agent's configuration file.

mod host_and_port;
mod http;
mod otlp;
mod request_headers;
mod syslog;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use strum::VariantArray as _;
use tcpclose_core::filter::ConnectionFilter;
use thiserror::Error;

use crate::escape::steers_terminal;
use crate::filter::config::output_filter;

use super::kind::RecordKind;

pub use self::http::{AnswerTimeout, Batch, BatchDelay, Compression, HttpConfig, HttpUrl};
pub use self::otlp::{OtlpConfig, OtlpEndpoint, OtlpProtocol, Temporality};
pub use self::request_headers::{HeaderFiles, HeaderValues, RequestHeaders};
pub use self::syslog::{Facility, MaxSize, SdId, SyslogAddress, SyslogConfig};

/// How many records wait for a slow receiver by default: about 40 MB of closes.
const DEFAULT_QUEUE: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// A longer queue would take more memory than any host should spend on it.
const MAX_QUEUE: usize = 1 << 20;

/// The longest name in bytes: it is part of every message and metric of the output.
const MAX_NAME_LEN: usize = 128;

/// One output: where records go, and which records.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Keys")]
pub struct SinkConfig {
    /// The output's name in messages and metrics, if the operator has chosen one. Two outputs to
    /// one destination need different names.
    pub name: Option<String>,
    /// Where the records go.
    pub target: Target,
    /// The kinds of records that are wanted; all by default.
    pub kinds: BTreeSet<RecordKind>,
    /// Which records of those kinds are wanted.
    pub filter: ConnectionFilter,
    /// How many records may pass; unlimited by default.
    pub rate_limit: Option<RateLimit>,
    /// How many records may wait for the receiver. Further ones are dropped and counted.
    pub queue: NonZeroUsize,
}

/// Where an output's records go.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// JSON lines on standard output.
    Stdout,
    /// JSON lines appended to a file.
    File(PathBuf),
    /// systemd's journal, over its native protocol.
    Journald,
    /// A syslog receiver (RFC 5424).
    Syslog(SyslogConfig),
    /// JSON lines posted over HTTP.
    Http(Box<HttpConfig>),
    /// A receiver of OpenTelemetry's protocol.
    Otlp(Box<OtlpConfig>),
}

/// A limit to the records of an output. Summaries and losses always pass: they are few, and they
/// report what was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table like { per_second = 500, burst = 5000 }"
)]
pub struct RateLimit {
    /// Records per second in the long run.
    pub per_second: NonZeroU32,
    /// Records at once after a quiet time; those of one second by default.
    pub burst: Option<NonZeroU32>,
}

/// The values of the key `type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, strum::Display)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum OutputType {
    /// The output is a [`Target::Stdout`].
    Stdout,
    /// The output is a [`Target::File`].
    File,
    /// The output is a [`Target::Journald`].
    Journald,
    /// The output is a [`Target::Syslog`].
    Syslog,
    /// The output is a [`Target::Http`].
    Http,
    /// The output is a [`Target::Otlp`].
    Otlp,
}

/// Why an output's configuration is refused.
#[derive(Debug, Error)]
pub enum InvalidOutput {
    /// A key of one type is set on an output of another type.
    #[error("an output of type {actual} has no `{key}`: that key belongs to type {expected}")]
    ForeignKey {
        /// The key of the configuration.
        key: &'static str,
        /// The types that have the key.
        expected: &'static str,
        /// The type of the output.
        actual: OutputType,
    },
    /// An output of type `file` has no path.
    #[error("an output of type file needs a `path`: the file's name")]
    MissingPath,
    /// An output of type `http` has no URL.
    #[error("an output of type http needs a `url`: the address to which records are posted")]
    MissingUrl,
    /// A path is relative.
    #[error("a `{0}` must begin with `/`: a daemon has no working directory of its own")]
    RelativePath(&'static str),
    /// There are certificates for an endpoint without TLS.
    #[error("a `ca_file` is for {0} that begins with https://")]
    CaFileWithoutTls(&'static str),
    /// A name is empty or cannot be printed.
    #[error(
        "a `name` must not be blank, contain control characters, or have more than {MAX_NAME_LEN} bytes"
    )]
    UnprintableName,
    /// A queue is longer than [`MAX_QUEUE`].
    #[error("a `queue` holds {MAX_QUEUE} records at most")]
    QueueTooLong,
    /// The list of kinds is empty.
    #[error("an output without kinds writes nothing: name some in `kinds`")]
    NoKinds,
}

/// The keys of all types in one table, so that serde itself knows which keys exist and where in the
/// file a wrong one is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(rename = "type")]
    output_type: OutputType,
    name: Option<String>,
    kinds: Option<BTreeSet<RecordKind>>,
    #[serde(default, deserialize_with = "output_filter")]
    filter: ConnectionFilter,
    rate_limit: Option<RateLimit>,
    queue: Option<NonZeroUsize>,
    path: Option<PathBuf>,
    address: Option<SyslogAddress>,
    facility: Option<Facility>,
    sd_id: Option<SdId>,
    max_size: Option<MaxSize>,
    endpoint: Option<OtlpEndpoint>,
    ca_file: Option<PathBuf>,
    protocol: Option<OtlpProtocol>,
    temporality: Option<Temporality>,
    headers: Option<HeaderValues>,
    header_files: Option<HeaderFiles>,
    resource: Option<BTreeMap<String, String>>,
    url: Option<HttpUrl>,
    compression: Option<Compression>,
    batch: Option<Batch>,
    batch_delay: Option<BatchDelay>,
    timeout: Option<AnswerTimeout>,
}

impl Keys {
    fn check_types(&self) -> Result<(), InvalidOutput> {
        let keys = [
            ("path", self.path.is_some(), "file"),
            ("address", self.address.is_some(), "syslog"),
            ("facility", self.facility.is_some(), "syslog"),
            ("sd_id", self.sd_id.is_some(), "syslog"),
            ("max_size", self.max_size.is_some(), "syslog"),
            ("url", self.url.is_some(), "http"),
            ("compression", self.compression.is_some(), "http"),
            ("batch", self.batch.is_some(), "http"),
            ("batch_delay", self.batch_delay.is_some(), "http"),
            ("timeout", self.timeout.is_some(), "http"),
            ("ca_file", self.ca_file.is_some(), "http or otlp"),
            ("headers", self.headers.is_some(), "http or otlp"),
            ("header_files", self.header_files.is_some(), "http or otlp"),
            ("endpoint", self.endpoint.is_some(), "otlp"),
            ("protocol", self.protocol.is_some(), "otlp"),
            ("temporality", self.temporality.is_some(), "otlp"),
            ("resource", self.resource.is_some(), "otlp"),
        ];
        let actual = self.output_type;
        let own = actual.to_string();
        let foreign = |&(_, is_set, expected): &(_, bool, &str)| {
            is_set && expected.split(" or ").all(|expected| expected != own)
        };
        match keys.into_iter().find(foreign) {
            Some((key, _, expected)) => Err(InvalidOutput::ForeignKey {
                key,
                expected,
                actual,
            }),
            None => Ok(()),
        }
    }
}

impl TryFrom<Keys> for SinkConfig {
    type Error = InvalidOutput;

    fn try_from(keys: Keys) -> Result<Self, InvalidOutput> {
        keys.check_types()?;
        let headers = RequestHeaders {
            values: keys.headers.unwrap_or_default(),
            files: keys.header_files.unwrap_or_default(),
        };
        let target = match keys.output_type {
            OutputType::Stdout => Target::Stdout,
            OutputType::File => {
                let path = keys.path.ok_or(InvalidOutput::MissingPath)?;
                if !path.is_absolute() {
                    return Err(InvalidOutput::RelativePath("path"));
                }
                Target::File(path)
            }
            OutputType::Journald => Target::Journald,
            OutputType::Syslog => Target::Syslog(SyslogConfig {
                address: keys.address.unwrap_or_default(),
                facility: keys.facility.unwrap_or_default(),
                sd_id: keys.sd_id.unwrap_or_default(),
                max_size: keys.max_size.unwrap_or_default(),
            }),
            OutputType::Http => {
                let url = keys.url.ok_or(InvalidOutput::MissingUrl)?;
                let is_https = url.uri().scheme_str() == Some("https");
                check_ca_file(keys.ca_file.as_deref(), is_https, "a url")?;
                Target::Http(Box::new(HttpConfig {
                    url,
                    ca_file: keys.ca_file,
                    headers,
                    compression: keys.compression.unwrap_or_default(),
                    batch: keys.batch.unwrap_or_default(),
                    batch_delay: keys.batch_delay.unwrap_or_default(),
                    timeout: keys.timeout.unwrap_or_default(),
                }))
            }
            OutputType::Otlp => {
                let protocol = keys.protocol.unwrap_or_default();
                let endpoint = keys.endpoint.unwrap_or_else(|| protocol.default_endpoint());
                let is_https = endpoint.is_https();
                check_ca_file(keys.ca_file.as_deref(), is_https, "an endpoint")?;
                Target::Otlp(Box::new(OtlpConfig {
                    endpoint,
                    ca_file: keys.ca_file,
                    protocol,
                    temporality: keys.temporality.unwrap_or_default(),
                    headers,
                    resource: keys.resource.unwrap_or_default(),
                }))
            }
        };
        let is_printable = |name: &String| {
            !name.trim().is_empty() && !name.contains(steers_terminal) && name.len() <= MAX_NAME_LEN
        };
        if !keys.name.as_ref().is_none_or(is_printable) {
            return Err(InvalidOutput::UnprintableName);
        }
        let queue = keys.queue.unwrap_or(DEFAULT_QUEUE);
        if queue.get() > MAX_QUEUE {
            return Err(InvalidOutput::QueueTooLong);
        }
        let kinds = keys.kinds.unwrap_or_else(all_kinds);
        if kinds.is_empty() {
            return Err(InvalidOutput::NoKinds);
        }
        Ok(Self {
            name: keys.name,
            target,
            kinds,
            filter: keys.filter,
            rate_limit: keys.rate_limit,
            queue,
        })
    }
}

fn check_ca_file(
    file: Option<&Path>,
    is_https: bool,
    address: &'static str,
) -> Result<(), InvalidOutput> {
    match file {
        Some(path) if !path.is_absolute() => Err(InvalidOutput::RelativePath("ca_file")),
        Some(_) if !is_https => Err(InvalidOutput::CaFileWithoutTls(address)),
        _ => Ok(()),
    }
}

fn all_kinds() -> BTreeSet<RecordKind> {
    RecordKind::VARIANTS.iter().copied().collect()
}

impl SinkConfig {
    /// Returns an output of all records, without a limit.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            name: None,
            target,
            kinds: all_kinds(),
            filter: ConnectionFilter::default(),
            rate_limit: None,
            queue: DEFAULT_QUEUE,
        }
    }

    /// Returns the output's name in messages and metrics: the one that the operator has chosen, or
    /// its type and destination, such as `file:/var/log/tcpclose.jsonl`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.name.clone();
        name.unwrap_or_else(|| self.target.to_string())
    }
}

/// Shows the type and the destination.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let output_type = self.output_type();
        match self {
            Self::Stdout | Self::Journald => write!(f, "{output_type}"),
            Self::File(path) => write!(f, "{output_type}:{}", path.display()),
            Self::Syslog(syslog) => write!(f, "{output_type}:{}", syslog.address),
            Self::Http(http) => write!(f, "{output_type}:{}", http.url),
            Self::Otlp(otlp) => write!(f, "{output_type}:{}", otlp.endpoint),
        }
    }
}

impl Target {
    /// Returns whether both have the same destination, however the records are written there.
    #[must_use]
    pub fn is_same_destination(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stdout, Self::Stdout) | (Self::Journald, Self::Journald) => true,
            (Self::File(path), Self::File(other)) => path == other,
            (Self::Syslog(syslog), Self::Syslog(other)) => syslog.address == other.address,
            (Self::Http(http), Self::Http(other)) => http.url == other.url,
            (Self::Otlp(otlp), Self::Otlp(other)) => {
                (&otlp.endpoint, otlp.protocol) == (&other.endpoint, other.protocol)
            }
            _ => false,
        }
    }

    /// Returns the value of the configuration's key `type`.
    pub(super) const fn output_type(&self) -> OutputType {
        match self {
            Self::Stdout => OutputType::Stdout,
            Self::File(_) => OutputType::File,
            Self::Journald => OutputType::Journald,
            Self::Syslog(_) => OutputType::Syslog,
            Self::Http(_) => OutputType::Http,
            Self::Otlp(_) => OutputType::Otlp,
        }
    }
}
