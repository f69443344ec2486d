//! What sock_diag and /proc show of sockets that may be stuck.

use std::sync::Arc;

use tcpclose_common::TcpState;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    Activity, Holder, HolderCoverage, ObservedSocket, ProbedSocket, StuckProbeResponse, Unanswered,
    UnansweredKind,
};
use tcpclose_core::types::{Inode, Nanos};
use tcpclose_core::{ProbeRequest, Tracker};

/// Answers what a core asks, on a host with one process.
pub fn answer(
    tracker: &Tracker,
    requests: &[ProbeRequest],
    process: Process,
    now: Nanos,
) -> StuckProbeResponse {
    let process = Arc::new(process);
    let found = requests.iter().filter_map(|request| {
        let (state, since) = tracker.in_state_since(request.id)?;
        let socket = observed(request, state, now - since)?;
        let is_held = socket.inode.is_some();
        let holders = is_held.then(|| holder(&process, request));
        Some(ProbedSocket {
            id: request.id,
            socket,
            holders: holders.into_iter().collect(),
            process: is_held.then(|| Arc::clone(&process)),
        })
    });
    StuckProbeResponse {
        at: now,
        ended: now,
        found: found.collect(),
        coverage: HolderCoverage::All,
    }
}

fn holder(process: &Process, request: &ProbeRequest) -> Holder {
    Holder {
        pid: process.pid,
        comm: process.comm.clone(),
        fds: vec![30 + u32::try_from(request.id.0 % 60_000).unwrap_or(0)],
        thread: None,
    }
}

/// Returns what sock_diag has of a socket that has been in its state for so long.
fn observed(request: &ProbeRequest, state: TcpState, age: Nanos) -> Option<ObservedSocket> {
    let is_open = match state {
        TcpState::CloseWait => true,
        TcpState::FinWait1 => false,
        _ => return None,
    };
    Some(ObservedSocket {
        id: request.id,
        state,
        mptcp: false,
        opening: None,
        netns: request.netns,
        tuple: request.tuple,
        interface: None,
        inode: is_open.then(|| Inode::new(request.id.0 as u32)).flatten(),
        uid: if is_open { 1000 } else { 0 },
        cgroup: None,
        queued: 0,
        unsent: u32::from(!is_open),
        unanswered: (!is_open).then_some(Unanswered {
            kind: UnansweredKind::Retransmissions,
            count: 7,
            at_least: None,
        }),
        keepalive: false,
        entered: None,
        activity: Some(Activity {
            since_data: Some(age),
            since_ack: age,
            bytes_acked: 0,
            since_sent: None,
        }),
    })
}
