//! Ports on the command line: a number, a range, or a service of `/etc/services`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::ops::RangeInclusive;

use thiserror::Error;

/// Names of services. The C library's own search would need its plugins, which a static program
/// has not.
const SERVICES: &str = "/etc/services";

/// So much of the file is read: distributions have some ten KiB.
const MAX_SERVICES_BYTES: u64 = 1 << 20;

/// The ports that one word stands for, of which there is at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortArg(RangeInclusive<u16>);

/// A word that stands for no port.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum PortError {
    #[error("a port is a number from 1 to 65535, a range (8000-8100), or a name in {SERVICES}")]
    NoPort,
    #[error("the first port of a range is the lower one")]
    Inverted,
    #[error("{SERVICES} has no TCP service of this name: give a number or a range (8000-8100)")]
    UnknownService,
}

impl PortArg {
    /// Reads one word of the command line.
    pub(super) fn parse(text: &str) -> Result<Self, PortError> {
        Self::parse_with(text, read_services)
    }

    fn parse_with(text: &str, services: impl FnOnce() -> String) -> Result<Self, PortError> {
        if text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            let port = port_of(&services(), text).ok_or(PortError::UnknownService)?;
            return Ok(Self(port..=port));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (number(first)?, number(last)?);
        match first <= last {
            true => Ok(Self(first..=last)),
            false => Err(PortError::Inverted),
        }
    }
}

/// Returns all the ports that these words stand for.
pub(super) fn ports(words: &[PortArg]) -> BTreeSet<u16> {
    words.iter().flat_map(|word| word.0.clone()).collect()
}

/// The number or range.
impl fmt::Display for PortArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        match first == last {
            true => write!(f, "{first}"),
            false => write!(f, "{first}-{last}"),
        }
    }
}

fn number(text: &str) -> Result<u16, PortError> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or(PortError::NoPort)
}

/// The file's text, or none where it cannot be read.
fn read_services() -> String {
    let mut text = Vec::new();
    // What was read before an error is still good.
    let _ =
        File::open(SERVICES).and_then(|file| file.take(MAX_SERVICES_BYTES).read_to_end(&mut text));
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns the port of the TCP service that has this name or alias: lines are as in services(5),
/// `https 443/tcp www # the web`.
fn port_of(services: &str, name: &str) -> Option<u16> {
    services.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let service = words.next()?;
        let port = words.next()?.strip_suffix("/tcp")?;
        let is_named = service == name || words.any(|alias| alias == name);
        is_named.then(|| number(port).ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# services\nhttp-alt\t8080/tcp\twebcache http_alt # WWW\n\
                        domain 53/udp\ndomain 53/tcp\nzero 0/tcp\nbad\n";

    fn parse(text: &str) -> Result<String, PortError> {
        let parsed = PortArg::parse_with(text, || TEXT.to_owned());
        parsed.map(|word| word.to_string())
    }

    #[test]
    fn a_port_is_a_number_a_range_or_a_service() {
        for (text, shown) in [
            ("443", "443"),
            ("8000-8100", "8000-8100"),
            ("7-7", "7"),
            ("http-alt", "8080"),
            ("webcache", "8080"),
            ("domain", "53"),
        ] {
            assert_eq!(parse(text).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", "0", "65536", "-1", "1-", "0-7", "1-2-3", "80 81"] {
            assert_eq!(parse(text), Err(PortError::NoPort), "{text}");
        }
        assert_eq!(parse("8100-8000"), Err(PortError::Inverted));
        for text in ["WWW", "zero", "bad", "htps"] {
            assert_eq!(parse(text), Err(PortError::UnknownService), "{text}");
        }
    }

    #[test]
    fn a_range_is_all_its_ports() {
        let words = ["1-3", "3", "65535"].map(|text| PortArg::parse(text).unwrap());
        assert_eq!(ports(&words), BTreeSet::from([1, 2, 3, 65535]));
    }
}
