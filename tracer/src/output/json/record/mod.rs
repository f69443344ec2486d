//! The shape of each record. The names and the order of the fields are the contract that docs/
//! describes.

mod compare;
mod holder_evidence;
mod parts;
mod rollup;
mod route;
mod sample;
mod stuck;
mod triage;

use std::borrow::Cow;

use serde::ser::SerializeSeq as _;
use serde::{Serialize, Serializer};
use tcpclose_common::TcpState;

use crate::escape::until_nul;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use tcpclose_core::event;
use tcpclose_core::finding;
use tcpclose_core::types::Nanos;

pub(super) use compare::Compare;
pub(super) use parts::{Address, Container, RecordContext, VERSION, netns, rounded_share};
use parts::{Conn, Owner, self_test};
pub(super) use rollup::Rollup;
pub(super) use route::Route;
pub(super) use sample::Sample;
pub(super) use stuck::{Descriptors, Growth, StuckRecord};
pub(super) use triage::Triage;

/// A finished close.
#[derive(Serialize)]
pub(super) struct Close<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    netns: Option<u32>,
    conn: Conn<'a>,
    owner: Option<Owner<'a>>,
    close: ClosePath<'a>,
    states: States<'a>,
    bytes: Bytes,
    retransmits: Option<u32>,
    reset: Option<Reset>,
    half_close: Option<HalfClose>,
    time_wait: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_test: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

impl<'a> Close<'a> {
    pub(super) fn new(
        close: &'a finding::Close,
        clock: &WallClock,
        context: RecordContext<'a>,
    ) -> Self {
        let finding::Close {
            at,
            endpoint,
            owner,
            path,
            initiator,
            cause,
            idle,
            peer_cause,
            connect_error,
            lost,
            steps,
            segments,
            states,
            bytes,
            retransmits,
            reset,
            half_close,
        } = close;
        Self {
            v: VERSION,
            kind: "close",
            ts: clock.rfc3339(*at),
            netns: netns(endpoint.netns),
            conn: Conn::new(endpoint, clock, &context),
            owner: owner
                .as_deref()
                .map(|owner| Owner::new(owner, context.owner)),
            close: ClosePath {
                path: path.into(),
                initiator: initiator.into(),
                abnormal: path.is_abnormal(),
                cause: cause.map(Into::into),
                peer_cause: peer_cause.map(Into::into),
                errno: *connect_error,
                lost: lost.map(Lost::from),
                idle_ms: idle.map(rounded_ms),
                segments: *segments,
                steps: Steps(steps),
            },
            states: States(states),
            bytes: Bytes {
                sent: bytes.sent,
                received: bytes.received,
            },
            retransmits: *retransmits,
            reset: reset.as_ref().map(|reset| Reset {
                by: reset.by.into(),
                reason: reset.reason.map(Into::into),
                kernel_reason: reset.kernel_reason,
            }),
            half_close: half_close.map(|half| HalfClose {
                by: half.by.into(),
                ms: rounded_ms(half.lasted),
                bytes_sent: half.bytes_sent,
                bytes_received: half.bytes_received,
            }),
            time_wait: None,
            self_test: self_test(endpoint),
            sample: context.sample,
        }
    }
}

/// A TIME_WAIT that is over.
#[derive(Serialize)]
pub(super) struct TimeWait<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    netns: Option<u32>,
    conn: Conn<'a>,
    owner: Option<Owner<'a>>,
    time_wait: TimeWaitDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    self_test: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

#[derive(Serialize)]
struct TimeWaitDetails {
    entered: Rfc3339,
    dwell_ms: f64,
    end: &'static str,
    measured: &'static str,
    error_ms: f64,
    restarts: u32,
}

impl<'a> TimeWait<'a> {
    pub(super) fn new(
        time_wait: &'a finding::TimeWait,
        clock: &WallClock,
        context: RecordContext<'a>,
    ) -> Self {
        let finding::TimeWait {
            at,
            endpoint,
            owner,
            entered,
            dwell,
            end,
            measured,
            error,
            restarts,
        } = time_wait;
        Self {
            v: VERSION,
            kind: "time_wait",
            ts: clock.rfc3339(*at),
            netns: netns(endpoint.netns),
            conn: Conn::new(endpoint, clock, &context),
            owner: owner
                .as_deref()
                .map(|owner| Owner::new(owner, context.owner)),
            time_wait: TimeWaitDetails {
                entered: clock.rfc3339(*entered),
                dwell_ms: rounded_ms(*dwell),
                end: end.into(),
                measured: measured.into(),
                error_ms: rounded_ms(*error),
                restarts: *restarts,
            },
            self_test: self_test(endpoint),
            sample: context.sample,
        }
    }
}

#[derive(Serialize)]
struct ClosePath<'a> {
    path: &'static str,
    initiator: &'static str,
    abnormal: Option<bool>,
    cause: Option<&'static str>,
    peer_cause: Option<&'static str>,
    errno: Option<u16>,
    lost: Option<Lost>,
    idle_ms: Option<f64>,
    segments: Option<u32>,
    steps: Steps<'a>,
}

#[derive(Serialize)]
struct Lost {
    unacknowledged_bytes: u32,
    unread_bytes: Option<u32>,
}

impl From<finding::Lost> for Lost {
    fn from(lost: finding::Lost) -> Self {
        let finding::Lost {
            unacknowledged,
            unread,
        } = lost;
        Self {
            unacknowledged_bytes: unacknowledged,
            unread_bytes: unread,
        }
    }
}

struct Steps<'a>(&'a [finding::Step]);

impl Serialize for Steps<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let first = self.0.iter().find_map(|step| step.at);
        serializer.collect_seq(self.0.iter().map(|step| Step {
            from: step.from.into(),
            flags: step.flags.into(),
            seq: step.seq,
            ack: step.ack,
            at_ms: step.at.zip(first).map(|(at, first)| rounded_ms(at - first)),
            known: step.known.into(),
        }))
    }
}

#[derive(Serialize)]
struct Step {
    from: &'static str,
    flags: &'static str,
    seq: Option<u32>,
    ack: Option<u32>,
    /// The time since the first closing step whose time is known.
    at_ms: Option<f64>,
    known: &'static str,
}

struct States<'a>(&'a [(TcpState, Option<Nanos>)]);

impl Serialize for States<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut states = serializer.serialize_seq(Some(self.0.len()))?;
        for (state, span) in self.0 {
            states.serialize_element(&TimeInState {
                state: state.into(),
                ms: span.map(rounded_ms),
            })?;
        }
        states.end()
    }
}

#[derive(Serialize)]
struct TimeInState {
    state: &'static str,
    ms: Option<f64>,
}

#[derive(Serialize)]
struct Bytes {
    sent: Option<u64>,
    received: Option<u64>,
}

#[derive(Serialize)]
struct Reset {
    by: &'static str,
    reason: Option<&'static str>,
    kernel_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct HalfClose {
    by: &'static str,
    ms: f64,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The `loss` object of a record.
#[derive(Serialize)]
pub(super) struct Loss {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    lost: u64,
    #[serde(rename = "where")]
    location: &'static str,
    repaired: bool,
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Sample>,
}

impl Loss {
    pub(super) fn new(loss: &finding::Loss, clock: &WallClock, sample: Option<Sample>) -> Self {
        let finding::Loss {
            at,
            lost,
            location,
            repaired,
            duration,
        } = *loss;
        Self {
            v: VERSION,
            kind: "loss",
            ts: clock.rfc3339(at),
            lost,
            location: location.into(),
            repaired,
            duration_ms: duration.map(rounded_ms),
            sample,
        }
    }
}

/// A raw transition.
#[derive(Serialize)]
pub(super) struct Transition<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    netns: Option<u32>,
    id: Option<u64>,
    skaddr: Option<String>,
    family: &'static str,
    local: Address,
    peer: Address,
    old: &'static str,
    new: &'static str,
    ms: Option<f64>,
    task: Option<Task<'a>>,
}

impl<'a> Transition<'a> {
    pub(super) fn new(
        transition: &'a event::Transition,
        time_in_old_state: Option<Nanos>,
        clock: &WallClock,
    ) -> Self {
        let tuple = &transition.tuple;
        Self {
            v: VERSION,
            kind: "transition",
            ts: clock.rfc3339(transition.at),
            netns: netns(transition.netns),
            id: transition.id.is_cookie().then_some(transition.id.0),
            skaddr: transition
                .skaddr
                .map(|address| format!("{:016x}", address.get())),
            family: tuple.ip().into(),
            local: tuple.local().into(),
            peer: tuple.peer().into(),
            old: transition.old.into(),
            new: transition.new.into(),
            ms: time_in_old_state.map(rounded_ms),
            task: transition.task.as_ref().map(|task| Task {
                pid: task.pid,
                comm: String::from_utf8_lossy(until_nul(&task.comm)),
                uid: task.uid,
            }),
        }
    }
}

#[derive(Serialize)]
struct Task<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    uid: u32,
}
