//! Whether a namespace has TCP sockets at all.
//!
//! The kernel keeps the connections of all namespaces in one hash table, and lists those of one by
//! walking all of it, once for each family: some 10 ms each time with 90,000 sockets on the host. A
//! file in procfs shows at next to no cost which of these walks would find nothing.

use std::fs;
use std::io;

use tcpclose_sys::kernel::sock_diag::SocketFamilies;

/// The families with TCP sockets in the calling thread's network namespace; `None` where there are
/// none. What cannot be read is taken for in use.
pub(crate) fn families() -> Option<SocketFamilies> {
    let read =
        |name: &str, protocol| match fs::read_to_string(format!("/proc/thread-self/net/{name}")) {
            Ok(text) => is_used(&text, protocol),
            // No IPv6, no file.
            Err(error) => error.kind() != io::ErrorKind::NotFound || protocol != "TCP6:",
        };
    match (read("sockstat", "TCP:"), read("sockstat6", "TCP6:")) {
        (true, true) => Some(SocketFamilies::Both),
        (true, false) => Some(SocketFamilies::Inet),
        (false, true) => Some(SocketFamilies::Inet6),
        (false, false) => None,
    }
}

/// As [`families`], of a scan that lists minisockets in TIME_WAIT too: the counts by family leave
/// them out, and one number is of both.
pub(crate) fn families_with_time_wait() -> Option<SocketFamilies> {
    let has_none = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
        line.is_some_and(|line| line.contains(" tw 0 "))
    };
    match fs::read_to_string("/proc/thread-self/net/sockstat") {
        Ok(text) if has_none(&text) => families(),
        _ => Some(SocketFamilies::Both),
    }
}

/// Returns whether the calling thread's network namespace has MPTCP sockets. What cannot be read is
/// taken for in use.
pub(crate) fn has_mptcp() -> bool {
    let text = fs::read_to_string("/proc/thread-self/net/protocols");
    text.map_or(true, |text| counts_mptcp(&text))
}

/// Returns whether the lines `MPTCP  1936  5 …` and `MPTCPv6 …` count sockets in use, in the third
/// column. Kernels without MPTCP have no such lines.
fn counts_mptcp(text: &str) -> bool {
    text.lines().any(|line| {
        let mut columns = line.split_ascii_whitespace();
        let is_mptcp = matches!(columns.next(), Some("MPTCP" | "MPTCPv6"));
        is_mptcp && columns.nth(1) != Some("0")
    })
}

/// Returns whether the line of a protocol, `TCP: inuse 3 orphan 0 …`, has sockets in use. The
/// number counts sockets of that family that are in the hash tables (`sock_prot_inuse_get`);
/// v4-mapped ones are TCP6's.
fn is_used(text: &str, protocol: &str) -> bool {
    let line = text.lines().find_map(|line| line.strip_prefix(protocol));
    let number = line.and_then(|line| line.trim_start().strip_prefix("inuse "));
    number.and_then(|line| line.split(' ').next()) != Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mptcp_s_own_sockets_are_counted() {
        let text = "protocol  size sockets  memory press\nTCP       2296      8     136   no\n";
        assert!(!counts_mptcp(text));
        let with = |line: &str| counts_mptcp(&format!("{text}{line}"));
        assert!(!with(
            "MPTCPv6   2064      0     136   no\nMPTCP     1936      0     136   no\n"
        ));
        assert!(with("MPTCP     1936      5     136   no\n"));
        assert!(with("MPTCPv6   2064      1     136   no\n"));
    }

    #[test]
    fn only_a_plain_zero_is_none() {
        let text =
            "sockets: used 105\nTCP: inuse 0 orphan 0 tw 12 alloc 4 mem 0\nUDP: inuse 1 mem 0\n";
        assert!(!is_used(text, "TCP:"));
        assert!(is_used(
            &text.replace("TCP: inuse 0", "TCP: inuse 10"),
            "TCP:"
        ));
        assert!(!is_used("TCP6: inuse 0\nUDP6: inuse 0\n", "TCP6:"));
        assert!(is_used("TCP6: inuse 1\n", "TCP6:"));
        assert!(is_used("", "TCP:"), "a file that cannot be understood");
    }
}
