//! What an operator can say about an output, as serde reads it from the agent's configuration.

mod otlp;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use serde::Deserialize;
use tcpclose_core::filter::ConnectionFilter;

use crate::filter::config::output_filter;

use super::kind::Kind;
use super::syslog::{Facility, MaxSize, SdId, SyslogAddress};

pub use self::otlp::{OtlpConfig, OtlpEndpoint, OtlpHeaders, OtlpProtocol, Temporality};

/// How many records wait for a slow receiver where the configuration does not say: some 40 MB of closes.
const DEFAULT_QUEUE: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// More would take more memory than any host should give.
const LONGEST_QUEUE: usize = 1 << 20;

/// One output: where records go, and which.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "Keys")]
pub struct SinkConfig {
    /// What messages and metrics call it, where the operator says: two outputs to one place need two names.
    pub name: Option<String>,
    /// Where they go.
    pub target: Target,
    /// The kinds that are wanted; all where the configuration does not say.
    pub kinds: BTreeSet<Kind>,
    /// Which records of those kinds.
    pub filter: ConnectionFilter,
    /// How many; as many as there are where the configuration does not say.
    pub rate_limit: Option<RateLimit>,
    /// How many records may wait for the receiver. Further ones are dropped and counted.
    pub queue: NonZeroUsize,
}

/// Where an output's records go.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// JSON lines to standard output.
    Stdout,
    /// JSON lines to the end of a file.
    File(PathBuf),
    /// systemd's journal, in its own protocol.
    Journald,
    /// RFC 5424.
    Syslog(SyslogConfig),
    /// OpenTelemetry's protocol.
    Otlp(Box<OtlpConfig>),
}

/// An output of type `syslog`.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogConfig {
    /// Where the receiver listens.
    pub address: SyslogAddress,
    /// What the messages are filed under.
    pub facility: Facility,
    /// Name of the structured data: `tcpclose@` and the enterprise number of whoever runs it.
    pub sd_id: SdId,
    /// Bytes of a message at most. Of longer ones fields are left out, the longest first.
    pub max_size: MaxSize,
}

/// A limit to the records of an output. Summaries and losses pass it always: they are few, and tell of the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table like { per_second = 500, burst = 5000 }"
)]
pub struct RateLimit {
    /// Records a second, in the long run.
    pub per_second: NonZeroU32,
    /// Records at once after a quiet time; as many as a second's where the configuration does not say.
    pub burst: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Stdout,
    File,
    Journald,
    Syslog,
    Otlp,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stdout => "stdout",
            Self::File => "file",
            Self::Journald => "journald",
            Self::Syslog => "syslog",
            Self::Otlp => "otlp",
        })
    }
}

/// The keys of all types in one table, so that serde itself knows which exist and where a wrong one stands.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    #[serde(rename = "type")]
    kind: Type,
    name: Option<String>,
    kinds: Option<BTreeSet<Kind>>,
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
    headers: Option<OtlpHeaders>,
    resource: Option<BTreeMap<String, String>>,
}

impl TryFrom<Keys> for SinkConfig {
    type Error = String;

    fn try_from(keys: Keys) -> Result<Self, String> {
        let Keys {
            kind,
            name,
            kinds,
            filter,
            rate_limit,
            queue,
            path,
            address,
            facility,
            sd_id,
            max_size,
            endpoint,
            ca_file,
            protocol,
            temporality,
            headers,
            resource,
        } = keys;
        let strange = |key: &str, given: bool, of: Type| {
            if given && kind != of {
                return Err(format!(
                    "an output of type {kind} has no `{key}`: that is one of type {of}'s"
                ));
            }
            Ok(())
        };
        strange("path", path.is_some(), Type::File)?;
        strange("address", address.is_some(), Type::Syslog)?;
        strange("facility", facility.is_some(), Type::Syslog)?;
        strange("sd_id", sd_id.is_some(), Type::Syslog)?;
        strange("max_size", max_size.is_some(), Type::Syslog)?;
        strange("endpoint", endpoint.is_some(), Type::Otlp)?;
        strange("ca_file", ca_file.is_some(), Type::Otlp)?;
        strange("protocol", protocol.is_some(), Type::Otlp)?;
        strange("temporality", temporality.is_some(), Type::Otlp)?;
        strange("headers", headers.is_some(), Type::Otlp)?;
        strange("resource", resource.is_some(), Type::Otlp)?;
        let target = match kind {
            Type::Stdout => Target::Stdout,
            Type::File => {
                let path = path.ok_or("an output of type file needs a `path`: the file's name")?;
                if !path.is_absolute() {
                    return Err(
                        "a `path` begins with `/`: a daemon has no directory of its own".to_owned(),
                    );
                }
                Target::File(path)
            }
            Type::Journald => Target::Journald,
            Type::Syslog => Target::Syslog(SyslogConfig {
                address: address.unwrap_or_default(),
                facility: facility.unwrap_or_default(),
                sd_id: sd_id.unwrap_or_default(),
                max_size: max_size.unwrap_or_default(),
            }),
            Type::Otlp => {
                let protocol = protocol.unwrap_or_default();
                let endpoint = endpoint.unwrap_or_else(|| protocol.default_endpoint());
                if ca_file.as_ref().is_some_and(|path| !path.is_absolute()) {
                    return Err(
                        "a `ca_file` begins with `/`: a daemon has no directory of its own"
                            .to_owned(),
                    );
                }
                if ca_file.is_some() && !endpoint.is_https() {
                    return Err(
                        "a `ca_file` is for an endpoint that begins with https://".to_owned()
                    );
                }
                Target::Otlp(Box::new(OtlpConfig {
                    endpoint,
                    ca_file,
                    protocol,
                    temporality: temporality.unwrap_or_default(),
                    headers: headers.unwrap_or_default(),
                    resource: resource.unwrap_or_default(),
                }))
            }
        };
        let is_fit = |name: &String| !name.trim().is_empty() && !name.contains(char::is_control);
        if name.as_ref().is_some_and(|name| !is_fit(name)) {
            return Err(
                "a `name` is at least one letter, and has no control characters".to_owned(),
            );
        }
        if queue.is_some_and(|queue| queue.get() > LONGEST_QUEUE) {
            return Err(format!("a `queue` holds {LONGEST_QUEUE} records at most"));
        }
        let kinds = kinds.unwrap_or_else(|| Kind::ALL.into());
        if kinds.is_empty() {
            return Err("an output without kinds writes nothing: name some in `kinds`".to_owned());
        }
        Ok(Self {
            name,
            target,
            kinds,
            filter,
            rate_limit,
            queue: queue.unwrap_or(DEFAULT_QUEUE),
        })
    }
}

impl SinkConfig {
    /// An output of everything, unlimited.
    #[must_use]
    pub fn new(target: Target) -> Self {
        Self {
            name: None,
            target,
            kinds: Kind::ALL.into(),
            filter: ConnectionFilter::default(),
            rate_limit: None,
            queue: DEFAULT_QUEUE,
        }
    }

    /// What messages and metrics call this output: its name, or what it is and where: `file:/var/log/tcpclose.jsonl`.
    #[must_use]
    pub fn name(&self) -> String {
        let name = self.name.clone();
        name.unwrap_or_else(|| self.target.to_string())
    }
}

/// What it is and where.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Stdout | Self::Journald => write!(f, "{kind}"),
            Self::File(path) => write!(f, "{kind}:{}", path.display()),
            Self::Syslog(syslog) => write!(f, "{kind}:{}", syslog.address),
            Self::Otlp(otlp) => write!(f, "{kind}:{}", otlp.endpoint),
        }
    }
}

impl Target {
    /// Whether both go to the same place, however they are to be written there.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Stdout, Self::Stdout) | (Self::Journald, Self::Journald) => true,
            (Self::File(path), Self::File(other)) => path == other,
            (Self::Syslog(syslog), Self::Syslog(other)) => syslog.address == other.address,
            (Self::Otlp(otlp), Self::Otlp(other)) => {
                (&otlp.endpoint, otlp.protocol) == (&other.endpoint, other.protocol)
            }
            _ => false,
        }
    }

    /// The word of the configuration's `type`.
    pub(super) const fn kind(&self) -> Type {
        match self {
            Self::Stdout => Type::Stdout,
            Self::File(_) => Type::File,
            Self::Journald => Type::Journald,
            Self::Syslog(_) => Type::Syslog,
            Self::Otlp(_) => Type::Otlp,
        }
    }
}
