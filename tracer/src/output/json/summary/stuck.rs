//! The stuck sockets, and their owners.

use std::borrow::Cow;
use std::num::NonZero;

use serde::Serialize;

use super::ranked::{RankedList, RankedPeer};
use crate::output::duration::rounded_ms;
use crate::output::json::record::{Container, Descriptors, Growth};
use tcpclose_common::TcpState;
use tcpclose_core::stuck::Verdict;
use tcpclose_core::summary::{StuckOwner, StuckSummary};
use tcpclose_core::types::Nanos;

#[derive(Serialize)]
pub(super) struct StuckSection<'a> {
    sockets: u64,
    states: States,
    verdicts: Verdicts,
    oldest_ms: Option<f64>,
    owners: Vec<StuckOwnerRecord<'a>>,
    other: u64,
    unowned: u64,
    peers: RankedList<RankedPeer>,
}

impl<'a> StuckSection<'a> {
    pub(super) fn new(stuck: &'a StuckSummary, to: Nanos) -> Self {
        let StuckSummary {
            states: _,
            verdicts,
            oldest,
            owners,
            other,
            unowned,
            peers,
        } = stuck;
        Self {
            sockets: stuck.total(),
            states: States::new(stuck),
            verdicts: Verdicts {
                not_accepted: verdicts.get(Verdict::NotAccepted),
                eof_unread: verdicts.get(Verdict::EofUnread),
                eof_read: verdicts.get(Verdict::EofRead),
                half_closed: verdicts.get(Verdict::HalfClosed),
                unanswered: verdicts.get(Verdict::Unanswered),
                peer_not_reading: verdicts.get(Verdict::PeerNotReading),
            },
            oldest_ms: oldest.map(|since| rounded_ms(to - since)),
            owners: owners
                .iter()
                .map(|owner| StuckOwnerRecord::new(owner, to))
                .collect(),
            other: *other,
            unowned: *unowned,
            peers: peers.into(),
        }
    }
}

/// The number of stuck sockets by verdict. Sockets that still send are not stuck.
#[derive(Serialize)]
struct Verdicts {
    not_accepted: u64,
    eof_unread: u64,
    eof_read: u64,
    half_closed: u64,
    unanswered: u64,
    peer_not_reading: u64,
}

/// The number of stuck sockets by state.
#[derive(Default, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct States {
    close_wait: u64,
    #[serde(rename = "FIN_WAIT2")]
    fin_wait2: u64,
    last_ack: u64,
    #[serde(rename = "FIN_WAIT1")]
    fin_wait1: u64,
    closing: u64,
}

impl States {
    fn new(stuck: &StuckSummary) -> Self {
        let mut states = Self::default();
        for (state, count) in stuck.by_state() {
            let place = match state {
                TcpState::CloseWait => &mut states.close_wait,
                TcpState::FinWait2 => &mut states.fin_wait2,
                TcpState::LastAck => &mut states.last_ack,
                TcpState::FinWait1 => &mut states.fin_wait1,
                TcpState::Closing => &mut states.closing,
                _ => continue,
            };
            *place = count;
        }
        states
    }
}

#[derive(Serialize)]
struct StuckOwnerRecord<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    uid: u32,
    cgroup: Option<&'a str>,
    container: Option<Container<'a>>,
    unit: Option<&'a str>,
    descriptors: Descriptors,
    stuck: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    through_listener: Option<NonZero<u64>>,
    oldest_ms: f64,
    growth: Option<Growth>,
}

impl<'a> StuckOwnerRecord<'a> {
    fn new(owner: &'a StuckOwner, to: Nanos) -> Self {
        let StuckOwner {
            process,
            stuck,
            through_listener,
            oldest,
            forecast,
        } = owner;
        Self {
            pid: process.pid,
            comm: String::from_utf8_lossy(&process.comm),
            uid: process.uid,
            cgroup: process.cgroup.as_deref(),
            container: process.container.as_ref().map(Container::from),
            unit: process.unit.as_ref().map(|unit| unit.name.as_str()),
            descriptors: Descriptors::new(process),
            stuck: *stuck,
            through_listener: NonZero::new(*through_listener),
            oldest_ms: rounded_ms(to - *oldest),
            growth: forecast.map(Growth::from),
        }
    }
}
