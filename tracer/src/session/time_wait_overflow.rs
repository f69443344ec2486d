//! Counts endpoints that found no room in TIME_WAIT (`tcp_max_tw_buckets`): each namespace has the
//! counter `TCPTimeWaitOverflow`.

use std::collections::HashMap;
use std::fs;

use tcpclose_core::types::NetNs;

/// The counters of all namespaces at one moment.
#[derive(Debug, Default)]
pub(super) struct TimeWaitOverflows {
    /// The counter of each namespace.
    pub counts: HashMap<NetNs, u64>,
    /// Whether no namespace that matters is left out.
    pub complete: bool,
}

impl TimeWaitOverflows {
    /// Adds counts that are older than these.
    pub fn add_older(&mut self, older: &Self) {
        for (netns, count) in &older.counts {
            self.counts.entry(*netns).or_insert(*count);
        }
        self.complete |= older.complete;
    }
}

/// Reads the counter of the calling thread's namespace.
pub(super) fn count() -> Option<u64> {
    parse(&fs::read_to_string("/proc/thread-self/net/netstat").ok()?)
}

/// Finds the counter in a netstat file, which consists of pairs of lines: names above values.
fn parse(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let at = names
            .split(' ')
            .position(|name| name == "TCPTimeWaitOverflow");
        if let Some(at) = at {
            return values.split(' ').nth(at)?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_counter_is_found_by_its_name() {
        let netstat = "TcpExt: SyncookiesSent TCPTimeWaitOverflow TCPOFOQueue\nTcpExt: 1 23 4\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(parse(netstat), Some(23));
        assert_eq!(parse("TcpExt: A\nTcpExt: 1\n"), None);
        assert_eq!(parse("TcpExt: TCPTimeWaitOverflow\nTcpExt:\n"), None);
    }
}
