//! MPTCP connections, which are sockets of their own beside the TCP sockets (subflows) that carry
//! them.

use std::collections::HashSet;

use crate::coverage::{CoverageGap, namespace_text};
use tcpclose_common::TcpState;
use tcpclose_core::types::{EndpointId, NetNs};
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError, KernelSocket, StateSet};

/// The state in which MPTCP connections are judged: the rules of others are those of TCP's timers.
const OBSERVED_STATES: StateSet = StateSet::from_states(&[TcpState::CloseWait]);

/// The MPTCP connections of a namespace.
pub(super) struct MptcpSockets {
    /// Those in a state in which they can be stuck.
    pub observed: Vec<KernelSocket>,
    /// The connections in any state.
    all: Vec<KernelSocket>,
}

impl MptcpSockets {
    /// Reads the kernel's list.
    pub fn read(diag: &mut DiagClient) -> Result<Self, DiagError> {
        let all = diag.collect_mptcp(StateSet::full_sockets())?;
        let observed = all
            .iter()
            .filter(|socket| OBSERVED_STATES.contains(socket.state));
        Ok(Self {
            observed: observed.copied().collect(),
            all,
        })
    }

    /// Removes the subflows of these connections from a list of TCP sockets: what is stuck is the
    /// connection. A subflow has its connection's file, or its addresses before that is accepted.
    /// Listening sockets stay.
    pub fn remove_subflows(&self, sockets: &mut Vec<KernelSocket>) {
        let inodes: HashSet<_> = self.all.iter().filter_map(|socket| socket.inode).collect();
        let tuples: HashSet<_> = self.all.iter().map(|socket| socket.tuple).collect();
        sockets.retain(|socket| {
            let is_subflow = socket.is_subflow
                || socket.inode.is_some_and(|inode| inodes.contains(&inode))
                || tuples.contains(&socket.tuple);
            socket.state == TcpState::Listen || !is_subflow
        });
    }

    /// Returns the gap that is left where the kernel shows no ages: a single scan takes what it
    /// finds for young.
    pub fn gap(&self, netns: Option<NetNs>) -> Option<CoverageGap> {
        let ageless =
            |socket: &&KernelSocket| socket.mptcp.is_none_or(|info| info.ages_ms.is_none());
        let count = self.observed.iter().filter(ageless).count();
        (count > 0).then(|| {
            CoverageGap::new(format!(
                "{count} MPTCP connections in CLOSE_WAIT in {} have no known age on this kernel (since Linux 6.10): \
                 --watch counts their age from its first scan",
                namespace_text(netns)
            ))
        })
    }
}

/// Returns a connection as it is now.
pub(super) fn look_up(
    diag: &mut DiagClient,
    id: EndpointId,
) -> Result<Option<KernelSocket>, DiagError> {
    let sockets = diag.collect_mptcp(OBSERVED_STATES)?;
    Ok(sockets.into_iter().find(|socket| socket.id == id))
}
