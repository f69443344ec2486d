//! The entries of recordings of formats 2 to 4, as far as they are encoded in another way. What
//! differs between these formats, too, is a parameter.

use std::collections::HashSet;

use serde::Deserialize;
use tcpclose_common::TcpState;

use super::Entry;
use super::format_4::Format4ProbeResponse;
use crate::summary::IntervalEnd;
use tcpclose_core::event::{Event, Evidence, Signal, SocketFlags, Task, TcpFields, Transition};
use tcpclose_core::finding::Loss;
use tcpclose_core::stuck::StuckProbeResponse;
use tcpclose_core::types::{EndpointId, Nanos, NetNs, SocketAddress, Tuple};
use tcpclose_core::{Input, MinisocketState, PollResponse, SnapshotSocket};

/// An entry of a recording of format 4.
pub(super) type Format4Entry = OlderEntry<Format4ProbeResponse, IntervalEnd>;

/// An entry whose responses of probes are encoded as `P`, and the ends of intervals as `E`.
#[derive(Deserialize)]
pub(super) enum OlderEntry<P, E> {
    Input(OlderInput<P>),
    WallClock(i64),
    Cgroup { id: u64, path: String },
    IntervalEnd(E),
}

#[derive(Deserialize)]
pub(super) enum OlderInput<P> {
    Event(OlderEvent),
    Time(Nanos),
    MinisocketProbe {
        id: EndpointId,
        minisocket: MinisocketState,
        at: Nanos,
    },
    Poll(PollResponse),
    StuckProbe(P),
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
pub(super) enum OlderEvent {
    Transition(OlderTransition),
    Signal(Signal),
}

#[derive(Deserialize)]
pub(super) struct OlderTransition {
    at: Nanos,
    id: EndpointId,
    skaddr: u64,
    netns: u32,
    tuple: Tuple,
    old: TcpState,
    new: TcpState,
    task: Option<Task>,
    evidence: Option<OlderEvidence>,
}

#[derive(Deserialize)]
struct OlderEvidence {
    tcp: OlderFields,
    flags: SocketFlags,
}

/// The fields without the times of the last data.
#[derive(Deserialize)]
struct OlderFields {
    snd_una: u32,
    snd_nxt: u32,
    write_seq: u32,
    rcv_nxt: u32,
    snd_wnd: u32,
    snd_wl1: u32,
    segs_in: u32,
    segs_out: u32,
    bytes_acked: u64,
    bytes_received: u64,
    error: u16,
    out_of_order: u16,
    retransmits: u32,
}

impl<P: Into<StuckProbeResponse>, E: Into<IntervalEnd>> From<OlderEntry<P, E>> for Entry {
    fn from(entry: OlderEntry<P, E>) -> Self {
        match entry {
            OlderEntry::Input(input) => Self::Input(input.into()),
            OlderEntry::WallClock(offset) => Self::WallClock(offset),
            OlderEntry::Cgroup { id, path } => Self::Cgroup { id, path },
            OlderEntry::IntervalEnd(end) => Self::IntervalEnd(end.into()),
        }
    }
}

impl<P: Into<StuckProbeResponse>> From<OlderInput<P>> for Input {
    fn from(input: OlderInput<P>) -> Self {
        match input {
            OlderInput::Event(event) => Self::Event(event.into()),
            OlderInput::Time(at) => Self::Time(at),
            OlderInput::MinisocketProbe { id, minisocket, at } => {
                Self::MinisocketProbe { id, minisocket, at }
            }
            OlderInput::Poll(result) => Self::Poll(result),
            OlderInput::StuckProbe(response) => Self::StuckProbe(response.into()),
            OlderInput::Snapshot { sockets, at } => Self::Snapshot { sockets, at },
            OlderInput::AliveSockets {
                namespaces,
                alive,
                began,
            } => Self::AliveSockets {
                namespaces,
                alive,
                began,
            },
            OlderInput::Loss(loss) => Self::Loss(loss),
        }
    }
}

impl From<OlderEvent> for Event {
    fn from(event: OlderEvent) -> Self {
        match event {
            OlderEvent::Transition(transition) => Self::Transition(transition.into()),
            OlderEvent::Signal(signal) => Self::Signal(signal),
        }
    }
}

impl From<OlderTransition> for Transition {
    fn from(older: OlderTransition) -> Self {
        Self {
            at: older.at,
            id: older.id,
            skaddr: SocketAddress::new(older.skaddr),
            netns: NetNs::new(older.netns),
            tuple: older.tuple,
            old: older.old,
            new: older.new,
            task: older.task,
            evidence: older.evidence.map(Evidence::from),
        }
    }
}

impl From<OlderEvidence> for Evidence {
    fn from(OlderEvidence { tcp, flags }: OlderEvidence) -> Self {
        Self {
            tcp: TcpFields {
                snd_una: tcp.snd_una,
                snd_nxt: tcp.snd_nxt,
                write_seq: tcp.write_seq,
                rcv_nxt: tcp.rcv_nxt,
                snd_wnd: tcp.snd_wnd,
                snd_wl1: tcp.snd_wl1,
                segs_in: tcp.segs_in,
                segs_out: tcp.segs_out,
                bytes_acked: tcp.bytes_acked,
                bytes_received: tcp.bytes_received,
                error: tcp.error,
                out_of_order: tcp.out_of_order,
                retransmits: tcp.retransmits,
                sent_ms_ago: 0,
                received_ms_ago: 0,
            },
            flags,
        }
    }
}
