//! How many TCP connections this host's network namespace has, as the kernel counts them.

use std::fs;

/// Returns the number of connections in ESTABLISHED or CLOSE_WAIT in this network namespace, of
/// IPv4 and IPv6 together (`tcpCurrEstab` of RFC 4022); `None` where it cannot be read.
pub(crate) fn established() -> Option<u64> {
    parse(&fs::read_to_string("/proc/self/net/snmp").ok()?)
}

/// Finds the value in two lines of which the first has the names: `Tcp: … CurrEstab …`.
fn parse(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let place = names.split(' ').position(|name| name == "CurrEstab")?;
    values.split(' ').nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_stands_under_its_name() {
        let text = "Ip: Forwarding\nIp: 1\nTcp: MaxConn EstabResets CurrEstab InSegs\n\
                    Tcp: -1 13 412 9\nUdp: InDatagrams\nUdp: 1\n";
        assert_eq!(parse(text), Some(412));
        assert_eq!(parse("Tcp: MaxConn\nTcp: -1\n"), None);
        assert_eq!(parse(""), None);
    }
}
