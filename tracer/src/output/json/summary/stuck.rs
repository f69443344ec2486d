//! The stuck sockets, and their owners.

use std::borrow::Cow;
use std::num::NonZero;

use serde::Serialize;

use super::ranked::{RankedList, RankedPeer};
use crate::output::duration::rounded_ms;
use crate::output::json::record::{Container, Descriptors, Growth};
use tcpclose_core::stuck::Verdict;
use tcpclose_core::summary::{StuckOwner, StuckSummary};
use tcpclose_core::types::Nanos;

#[derive(Serialize)]
pub(super) struct StuckSection<'a> {
    sockets: u64,
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
            verdicts,
            oldest,
            owners,
            other,
            unowned,
            peers,
        } = stuck;
        Self {
            sockets: stuck.total(),
            verdicts: Verdicts {
                not_accepted: verdicts.get(Verdict::NotAccepted),
                eof_unread: verdicts.get(Verdict::EofUnread),
                eof_read: verdicts.get(Verdict::EofRead),
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
