//! What only recordings of formats 2 to 4 encode in another way: sockets that were probed, which
//! were all in CLOSE_WAIT and had no counts of what their peer leaves unanswered.

use std::sync::Arc;

use serde::Deserialize;

use tcpclose_common::TcpState;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    Activity, Holder, HolderCoverage, ObservedSocket, ProbedSocket, StuckProbeResponse,
};
use tcpclose_core::types::{CgroupId, EndpointId, Inode, InterfaceIndex, Nanos, NetNs, Tuple};

#[derive(Deserialize)]
pub(super) struct Format4ProbeResponse {
    at: Nanos,
    ended: Nanos,
    found: Vec<Format4ProbedSocket>,
    coverage: HolderCoverage,
}

#[derive(Deserialize)]
struct Format4ProbedSocket {
    id: EndpointId,
    socket: Format4ObservedSocket,
    holders: Vec<Holder>,
    process: Option<Arc<Process>>,
}

/// Ids that are not known are 0.
#[derive(Deserialize)]
pub(super) struct Format4ObservedSocket {
    id: EndpointId,
    netns: u32,
    tuple: Tuple,
    interface: u32,
    inode: u32,
    uid: u32,
    cgroup: u64,
    queued: u32,
    unsent: u32,
    keepalive: bool,
    entered: Option<Nanos>,
    activity: Option<Activity>,
}

impl From<Format4ProbeResponse> for StuckProbeResponse {
    fn from(response: Format4ProbeResponse) -> Self {
        let Format4ProbeResponse {
            at,
            ended,
            found,
            coverage,
        } = response;
        let found = found.into_iter().map(|probed| ProbedSocket {
            id: probed.id,
            socket: probed.socket.into(),
            holders: probed.holders,
            process: probed.process,
        });
        Self {
            at,
            ended,
            found: found.collect(),
            coverage,
        }
    }
}

impl From<Format4ObservedSocket> for ObservedSocket {
    fn from(socket: Format4ObservedSocket) -> Self {
        let Format4ObservedSocket {
            id,
            netns,
            tuple,
            interface,
            inode,
            uid,
            cgroup,
            queued,
            unsent,
            keepalive,
            entered,
            activity,
        } = socket;
        Self {
            id,
            state: TcpState::CloseWait,
            mptcp: false,
            opening: None,
            netns: NetNs::new(netns),
            tuple,
            interface: InterfaceIndex::new(interface),
            inode: Inode::new(inode),
            uid,
            cgroup: CgroupId::new(cgroup),
            queued,
            unsent,
            unanswered: None,
            keepalive,
            entered,
            activity,
        }
    }
}
