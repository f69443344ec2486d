//! The keys of an output of type `syslog`.

use std::fmt;
use std::net::SocketAddrV6;
use std::path::PathBuf;

use serde::Deserialize;
use thiserror::Error;

/// An output of type `syslog`.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogConfig {
    /// Where the receiver listens.
    pub address: SyslogAddress,
    /// The facility of all messages.
    pub facility: Facility,
    /// The name of the structured data: `tcpclose@` and the operator's enterprise number.
    pub sd_id: SdId,
    /// The longest message, in bytes. Longer ones lose fields, the longest first.
    pub max_size: MaxSize,
}

/// Why a key is refused.
#[derive(Debug, Error)]
pub enum InvalidSyslogKey {
    /// An address cannot be understood.
    #[error(
        "`{0}` is not an address of a syslog receiver; write unix:/dev/log, udp://host:514 or tcp://[2001:db8::1]:601"
    )]
    Address(String),
    /// A name of structured data breaks the grammar of RFC 5424.
    #[error(
        "`{0}` is not a name of structured data; write a name, @ and your enterprise number, 32 characters at most"
    )]
    SdId(String),
    /// A size is outside of what receivers and datagrams take.
    #[error("a limit of {0} bytes is not possible: choose 480 to 65507")]
    MaxSize(usize),
}

/// How to reach the receiver, written as `unix:/dev/log`, `udp://192.0.2.1:514` or
/// `tcp://192.0.2.1:601`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SyslogAddress {
    /// A Unix socket on this host, for datagrams or a stream, depending on the receiver.
    Unix(PathBuf),
    /// UDP, with one message per datagram.
    Udp(String),
    /// TCP, with the length of each message before it (octet counting, RFC 6587 section 3.4.1).
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
    type Error = InvalidSyslogKey;

    fn try_from(text: String) -> Result<Self, InvalidSyslogKey> {
        let address = if let Some(path) = text.strip_prefix("unix:") {
            path.starts_with('/').then(|| Self::Unix(path.into()))
        } else if let Some(address) = text.strip_prefix("udp://") {
            has_port(address).then(|| Self::Udp(address.to_owned()))
        } else if let Some(address) = text.strip_prefix("tcp://") {
            has_port(address).then(|| Self::Tcp(address.to_owned()))
        } else {
            None
        };
        address.ok_or(InvalidSyslogKey::Address(text))
    }
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// Returns whether this is a host. IPv6 addresses need brackets, which separate them from the port.
fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        // SocketAddrV6 accepts a scope, which link-local addresses have; Ipv6Addr does not.
        Some(_) => format!("{host}:1").parse::<SocketAddrV6>().is_ok(),
        None => {
            let is_plain =
                |character: char| character.is_ascii_graphic() && !":/[]@".contains(character);
            !host.is_empty() && host.chars().all(is_plain)
        }
    }
}

/// The facilities of RFC 5424 (section 6.2.1) that a program may use; those of the kernel and of
/// syslog itself are left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "RFC 5424 describes them")]
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

/// The name of the structured data (RFC 5424, section 6.3.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SdId(String);

impl SdId {
    pub(in crate::output::sink) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SdId {
    /// Uses the number for examples (RFC 5612): the project has none of its own.
    fn default() -> Self {
        Self("tcpclose@32473".to_owned())
    }
}

impl TryFrom<String> for SdId {
    type Error = InvalidSyslogKey;

    fn try_from(text: String) -> Result<Self, InvalidSyslogKey> {
        let is_valid = text.split_once('@').is_some_and(|(name, number)| {
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"=]\"@".contains(&byte);
            !name.is_empty()
                && name.bytes().all(plain)
                && !number.is_empty()
                && number
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
        });
        if is_valid && text.len() <= 32 {
            Ok(Self(text))
        } else {
            Err(InvalidSyslogKey::SdId(text))
        }
    }
}

/// The longest message, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct MaxSize(usize);

impl MaxSize {
    pub(in crate::output::sink) const fn bytes(self) -> usize {
        self.0
    }
}

impl Default for MaxSize {
    /// Returns rsyslog's own default limit: rsyslog cuts longer messages at any byte.
    fn default() -> Self {
        Self(8_192)
    }
}

impl TryFrom<usize> for MaxSize {
    type Error = InvalidSyslogKey;

    /// Every receiver must take 480 bytes (RFC 5424, section 6.1), and a datagram takes 65,507.
    fn try_from(bytes: usize) -> Result<Self, InvalidSyslogKey> {
        if (480..=65_507).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(InvalidSyslogKey::MaxSize(bytes))
        }
    }
}
