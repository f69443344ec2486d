//! What only recordings of formats 2 and 3 encode in another way.

use std::sync::Arc;

use serde::Deserialize;

use super::format_4::Format4ObservedSocket;
use super::older_entry::OlderEntry;
use crate::output_status::OutputStatus;
use crate::summary::IntervalEnd;
use crate::usage::Usage;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::{Holder, HolderCoverage, ProbedSocket, StuckProbeResponse};
use tcpclose_core::summary::{PortPressure, Route};
use tcpclose_core::types::{EndpointId, Nanos};

/// An entry of such a recording.
pub(super) type Format3Entry = OlderEntry<Format3ProbeResponse, Format3IntervalEnd>;

#[derive(Deserialize)]
pub(super) struct Format3ProbeResponse {
    at: Nanos,
    ended: Nanos,
    found: Vec<Format3ProbedSocket>,
}

#[derive(Deserialize)]
struct Format3ProbedSocket {
    id: EndpointId,
    socket: Format4ObservedSocket,
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

impl From<Format3ProbeResponse> for StuckProbeResponse {
    fn from(response: Format3ProbeResponse) -> Self {
        let found = response.found.into_iter().map(|probed| ProbedSocket {
            id: probed.id,
            socket: probed.socket.into(),
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
