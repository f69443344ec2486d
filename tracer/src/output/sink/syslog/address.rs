//! Where a syslog receiver listens, and what its messages are filed under.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

/// How to reach the receiver, written as `unix:/dev/log`, `udp://192.0.2.1:514` or `tcp://192.0.2.1:601`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogAddress {
    /// A socket of this host, for datagrams or a stream: whichever the receiver has made.
    Unix(PathBuf),
    /// A datagram a message.
    Udp(String),
    /// A stream of messages, each with its length in front (octet counting, RFC 6587 section 3.4.1).
    Tcp(String),
}

impl Default for SyslogAddress {
    fn default() -> Self {
        Self::Unix("/dev/log".into())
    }
}

impl fmt::Display for SyslogAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(address) => write!(f, "udp://{address}"),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

impl TryFrom<String> for SyslogAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = if let Some(path) = text.strip_prefix("unix:") {
            path.starts_with('/').then(|| Self::Unix(path.into()))
        } else if let Some(address) = text.strip_prefix("udp://") {
            has_port(address).then(|| Self::Udp(address.to_owned()))
        } else if let Some(address) = text.strip_prefix("tcp://") {
            has_port(address).then(|| Self::Tcp(address.to_owned()))
        } else {
            None
        };
        address.ok_or_else(|| {
            format!(
                "`{text}` is no address of a syslog receiver: write unix:/dev/log, udp://host:514 or tcp://host:601"
            )
        })
    }
}

fn has_port(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// What messages are filed under (RFC 5424, section 6.2.1), those of the kernel and of syslog itself left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "they are their names")]
pub enum Facility {
    User,
    #[default]
    Daemon,
    Local0,
    Local1,
    Local2,
    Local3,
    Local4,
    Local5,
    Local6,
    Local7,
}
