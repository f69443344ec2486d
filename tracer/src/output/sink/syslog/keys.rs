//! What an operator says about a syslog receiver.

use std::fmt;
use std::net::SocketAddrV6;
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
                "`{text}` is no address of a syslog receiver: write unix:/dev/log, udp://host:514 or tcp://[2001:db8::1]:601"
            )
        })
    }
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0))
}

/// IPv6 addresses stand in brackets: nobody could tell where the port begins.
fn is_host(host: &str) -> bool {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        // With a scope, as link-local ones have it.
        Some(_) => format!("{host}:1").parse::<SocketAddrV6>().is_ok(),
        None => {
            let is_plain =
                |character: char| character.is_ascii_graphic() && !":/[]@".contains(character);
            !host.is_empty() && host.chars().all(is_plain)
        }
    }
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

/// Name of the structured data (RFC 5424, section 6.3.2).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SdId(String);

impl SdId {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for SdId {
    /// With the number for examples (RFC 5612): the project has none of its own.
    fn default() -> Self {
        Self("tcpclose@32473".to_owned())
    }
}

impl TryFrom<String> for SdId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_right = text.split_once('@').is_some_and(|(name, number)| {
            let plain = |byte: u8| byte.is_ascii_graphic() && !b"=]\"@".contains(&byte);
            !name.is_empty()
                && name.bytes().all(plain)
                && !number.is_empty()
                && number
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || byte == b'.')
        });
        if is_right && text.len() <= 32 {
            Ok(Self(text))
        } else {
            Err(format!(
                "`{text}` is no name of structured data: write a name, @ and your enterprise number, 32 characters at most"
            ))
        }
    }
}

/// Bytes of a message at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "usize")]
pub struct MaxSize(usize);

impl MaxSize {
    pub(super) const fn bytes(self) -> usize {
        self.0
    }
}

impl Default for MaxSize {
    /// rsyslog's own limit where nobody changed it: it would cut longer ones anywhere.
    fn default() -> Self {
        Self(8_192)
    }
}

impl TryFrom<usize> for MaxSize {
    type Error = String;

    /// Every receiver must take 480 bytes (RFC 5424, section 6.1), and a datagram takes 65,507.
    fn try_from(bytes: usize) -> Result<Self, String> {
        if (480..=65_507).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(format!(
                "a message of {bytes} bytes at most is not possible: from 480 to 65507 are"
            ))
        }
    }
}
