//! Questions to sock_diag, in whatever network namespace the sockets live.

use std::collections::HashMap;
use std::fs;

use tcpclose_common::TcpState;

use super::now;
use crate::kernel::netns::{self, NetNsHandle};
use crate::kernel::sock_diag::{self, DiagSocket, Query, Socket, StateSet};
use crate::lifecycle::types::{Nanos, NetNs};
use crate::lifecycle::{Lookup, Minisocket, Sighting, Sweep};

/// Namespaces remembered at most: how to enter them, and what their overflow counter showed. Beyond that the memory
/// starts anew, which costs a walk through /proc each.
const REMEMBERED: usize = 4096;

/// Asks sock_diag in many namespaces. An open socket keeps its namespace alive, so those of foreign ones are closed
/// after each round of questions.
pub(super) struct Diag {
    own: Option<NetNs>,
    open: HashMap<NetNs, Option<DiagSocket>>,
    handles: HashMap<NetNs, NetNsHandle>,
    overflows: HashMap<NetNs, u64>,
}

impl Diag {
    pub fn new() -> Self {
        let mut diag = Self {
            own: netns::current().ok(),
            open: HashMap::new(),
            handles: HashMap::new(),
            overflows: HashMap::new(),
        };
        // What has overflowed before this is not ours to tell.
        if let Some(own) = diag.own {
            diag.take_overflows(own);
        }
        diag
    }

    /// What became of one minisocket.
    pub fn ask(&mut self, lookup: &Lookup) -> Minisocket {
        let Some(socket) = self.socket(lookup.netns) else {
            return Minisocket::Unreachable;
        };
        let question = sock_diag::Lookup::tuple(lookup.tuple);
        let question = lookup.cookie.map_or(question, |cookie| question.id(cookie));
        match socket.lookup(&question) {
            Ok(Some(found)) => minisocket(&found),
            Ok(None) => Minisocket::Gone,
            Err(_) => Minisocket::Unreachable,
        }
    }

    /// All minisockets in TIME_WAIT of a namespace.
    pub fn sweep(&mut self, netns: NetNs) -> Sweep {
        let began = now();
        let query = Query::states(StateSet::of(&[TcpState::TimeWait]));
        let collected = self.socket(netns).map(|socket| socket.collect(&query));
        let overflows = self.take_overflows(netns);
        let (found, complete) = match collected {
            Some(Ok((sockets, report))) => {
                let sightings = sockets.iter().filter_map(sighting).collect();
                (sightings, !report.interrupted && report.skipped == 0)
            }
            Some(Err(_)) => (Vec::new(), false),
            // The namespace is gone, and all its sockets with it.
            None => (Vec::new(), true),
        };
        Sweep {
            netns,
            began,
            ended: now(),
            complete,
            overflows,
            found,
        }
    }

    /// Ends a round of questions.
    pub fn rest(&mut self) {
        let own = self.own;
        self.open.retain(|netns, _| Some(*netns) == own);
    }

    fn socket(&mut self, netns: NetNs) -> Option<&mut DiagSocket> {
        if !self.open.contains_key(&netns) {
            let socket = if self.own == Some(netns) {
                DiagSocket::open().ok()
            } else {
                let opened = self
                    .handle(netns)
                    .and_then(|handle| DiagSocket::open_in(handle).ok());
                if opened.is_none() {
                    self.handles.remove(&netns);
                }
                opened
            };
            self.open.insert(netns, socket);
        }
        self.open.get_mut(&netns)?.as_mut()
    }

    fn handle(&mut self, netns: NetNs) -> Option<&NetNsHandle> {
        if !self.handles.contains_key(&netns) {
            if self.handles.len() >= REMEMBERED {
                self.handles.clear();
            }
            self.handles.insert(netns, netns::by_inode(netns).ok()?);
        }
        self.handles.get(&netns)
    }

    /// By how much `TCPTimeWaitOverflow` of the namespace has grown since the last call; 0 at the first.
    fn take_overflows(&mut self, netns: NetNs) -> u64 {
        let text = if self.own == Some(netns) {
            overflow_text()
        } else {
            self.handle(netns)
                .and_then(|handle| handle.enter(overflow_text).ok()?)
        };
        let Some(count) = text.as_deref().and_then(overflow_count) else {
            return 0;
        };
        if self.overflows.len() >= REMEMBERED {
            self.overflows.clear();
        }
        let before = self.overflows.insert(netns, count).unwrap_or(count);
        count.saturating_sub(before)
    }
}

fn sighting(socket: &Socket) -> Option<Sighting> {
    let left = Nanos::from_millis(socket.left_ms()?.into());
    Some(Sighting {
        cookie: socket.id,
        tuple: socket.tuple,
        left,
    })
}

fn minisocket(found: &Socket) -> Minisocket {
    match (found.state, found.left_ms()) {
        (TcpState::FinWait2, Some(left)) => Minisocket::FinWait2(Nanos::from_millis(left.into())),
        (TcpState::TimeWait, Some(left)) => Minisocket::TimeWait(Nanos::from_millis(left.into())),
        // Somebody else has taken the four-tuple.
        _ => Minisocket::Gone,
    }
}

/// The counters of the calling thread's namespace.
fn overflow_text() -> Option<String> {
    fs::read_to_string("/proc/thread-self/net/netstat").ok()
}

/// `TCPTimeWaitOverflow` in a netstat file: pairs of lines, names above values.
fn overflow_count(netstat: &str) -> Option<u64> {
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
    use super::overflow_count;

    #[test]
    fn the_counter_is_found_by_its_name() {
        let netstat = "TcpExt: SyncookiesSent TCPTimeWaitOverflow TCPOFOQueue\nTcpExt: 1 23 4\nIpExt: InNoRoutes\nIpExt: 0\n";
        assert_eq!(overflow_count(netstat), Some(23));
        assert_eq!(overflow_count("TcpExt: A\nTcpExt: 1\n"), None);
        assert_eq!(
            overflow_count("TcpExt: TCPTimeWaitOverflow\nTcpExt:\n"),
            None
        );
    }
}
