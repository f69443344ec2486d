//! The entries of recordings of formats 2 and 3, as far as they are encoded in another way.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use super::Entry;
use crate::output_status::OutputStatus;
use crate::summary::IntervalEnd;
use crate::usage::Usage;
use tcpclose_core::event::Event;
use tcpclose_core::finding::Loss;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{
    Holder, HolderCoverage, ObservedSocket, ProbedSocket, StuckProbeResponse,
};
use tcpclose_core::summary::{PortPressure, Route};
use tcpclose_core::types::{EndpointId, Nanos, NetNs};
use tcpclose_core::{Input, MinisocketState, PollResponse, SnapshotSocket};

/// An entry of such a recording.
#[derive(Deserialize)]
pub(super) enum Format3Entry {
    Input(Format3Input),
    WallClock(i64),
    Cgroup { id: u64, path: String },
    IntervalEnd(Format3IntervalEnd),
}

#[derive(Deserialize)]
pub(super) enum Format3Input {
    Event(Event),
    Time(Nanos),
    MinisocketProbe {
        id: EndpointId,
        minisocket: MinisocketState,
        at: Nanos,
    },
    Poll(PollResponse),
    StuckProbe(Format3ProbeResponse),
    Snapshot {
        sockets: Vec<SnapshotSocket>,
        at: Nanos,
    },
    AliveSockets {
        namespaces: HashSet<NetNs>,
        alive: HashSet<EndpointId>,
        began: Nanos,
    },
    Loss(Loss),
}

#[derive(Deserialize)]
pub(super) struct Format3ProbeResponse {
    at: Nanos,
    ended: Nanos,
    found: Vec<Format3ProbedSocket>,
}

#[derive(Deserialize)]
struct Format3ProbedSocket {
    id: EndpointId,
    socket: ObservedSocket,
    holders: Vec<Format3Holder>,
    process: Option<Arc<Process>>,
}

#[derive(Deserialize)]
struct Format3Holder {
    pid: u32,
    comm: Box<[u8]>,
    fds: Vec<u32>,
}

#[derive(Deserialize)]
pub(super) struct Format3IntervalEnd {
    at: Nanos,
    pressure: Vec<Format3PortPressure>,
    outputs: Vec<OutputStatus>,
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Format3PortPressure {
    route: Route,
    used: u32,
    ports: u32,
}

impl From<Format3Entry> for Entry {
    fn from(entry: Format3Entry) -> Self {
        match entry {
            Format3Entry::Input(input) => Self::Input(input.into()),
            Format3Entry::WallClock(offset) => Self::WallClock(offset),
            Format3Entry::Cgroup { id, path } => Self::Cgroup { id, path },
            Format3Entry::IntervalEnd(end) => Self::IntervalEnd(end.into()),
        }
    }
}

impl From<Format3Input> for Input {
    fn from(input: Format3Input) -> Self {
        match input {
            Format3Input::Event(event) => Self::Event(event),
            Format3Input::Time(at) => Self::Time(at),
            Format3Input::MinisocketProbe { id, minisocket, at } => {
                Self::MinisocketProbe { id, minisocket, at }
            }
            Format3Input::Poll(result) => Self::Poll(result),
            Format3Input::StuckProbe(response) => Self::StuckProbe(response.into()),
            Format3Input::Snapshot { sockets, at } => Self::Snapshot { sockets, at },
            Format3Input::AliveSockets {
                namespaces,
                alive,
                began,
            } => Self::AliveSockets {
                namespaces,
                alive,
                began,
            },
            Format3Input::Loss(loss) => Self::Loss(loss),
        }
    }
}

impl From<Format3ProbeResponse> for StuckProbeResponse {
    fn from(response: Format3ProbeResponse) -> Self {
        let found = response.found.into_iter().map(|probed| ProbedSocket {
            id: probed.id,
            socket: probed.socket,
            holders: probed.holders.into_iter().map(Holder::from).collect(),
            process: probed.process,
        });
        Self {
            at: response.at,
            ended: response.ended,
            found: found.collect(),
            coverage: HolderCoverage::Unrecorded,
        }
    }
}

impl From<Format3IntervalEnd> for IntervalEnd {
    fn from(end: Format3IntervalEnd) -> Self {
        let Format3IntervalEnd {
            at,
            pressure,
            outputs,
            usage,
        } = end;
        let pressure = pressure.into_iter().map(|pressure| PortPressure {
            route: pressure.route,
            used: Some(pressure.used),
            reusable: None,
            ports: pressure.ports,
        });
        Self {
            at,
            pressure: pressure.collect(),
            outputs,
            usage,
        }
    }
}

impl From<Format3Holder> for Holder {
    fn from(Format3Holder { pid, comm, fds }: Format3Holder) -> Self {
        Self {
            pid,
            comm,
            fds,
            thread: None,
        }
    }
}
