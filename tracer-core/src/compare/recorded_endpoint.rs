//! One endpoint of a connection, as a recording has it.

use std::sync::Arc;

use tcpclose_common::TcpState;

use crate::endpoint::Endpoint;
use crate::finding::{Close, ClosePath, Initiator, SegmentFlags, Side, Step};
use crate::open_endpoint::OpenEndpoint;
use crate::types::{Certainty, Nanos, Role, SharedOwner};

/// One of two recordings, and the host on which it was made.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, strum::Display, strum::IntoStaticStr,
)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Host {
    A,
    B,
}

impl Host {
    /// Both hosts, in the order of the recordings.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Returns the other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Returns its place among two.
    #[must_use]
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// One endpoint of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordedEndpoint {
    /// It has closed.
    Closed(Box<Close>),
    /// It was open when its recording ended.
    Open(Box<OpenEndpoint>),
}

/// One endpoint of a connection, which somebody else owns.
#[derive(Clone, Copy, Debug)]
pub enum EndpointView<'a> {
    /// It has closed.
    Closed(&'a Close),
    /// It is still open, or was when its recording ended.
    Open(&'a OpenEndpoint),
}

impl<'a> EndpointView<'a> {
    /// Returns the endpoint.
    #[must_use]
    pub const fn endpoint(self) -> &'a Endpoint {
        match self {
            Self::Closed(close) => &close.endpoint,
            Self::Open(open) => &open.endpoint,
        }
    }

    /// Returns the process that it belonged to, where that is known.
    #[must_use]
    pub const fn owner(self) -> Option<&'a SharedOwner> {
        match self {
            Self::Closed(close) => close.owner.as_ref(),
            Self::Open(open) => open.owner.as_ref(),
        }
    }

    /// Returns its close.
    #[must_use]
    pub const fn close(self) -> Option<&'a Close> {
        match self {
            Self::Closed(close) => Some(close),
            Self::Open(_) => None,
        }
    }
}

impl RecordedEndpoint {
    /// Returns it without its own memory.
    #[must_use]
    pub const fn as_view(&self) -> EndpointView<'_> {
        match self {
            Self::Closed(close) => EndpointView::Closed(close),
            Self::Open(open) => EndpointView::Open(open),
        }
    }

    /// Returns the endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        self.as_view().endpoint()
    }

    /// Returns the process that it belonged to, where that is known.
    #[must_use]
    pub const fn owner(&self) -> Option<&SharedOwner> {
        self.as_view().owner()
    }

    /// Returns its close.
    #[must_use]
    pub const fn close(&self) -> Option<&Close> {
        self.as_view().close()
    }

    fn steps(&self) -> &[Step] {
        match self {
            Self::Closed(close) => &close.steps,
            Self::Open(open) => &open.steps,
        }
    }

    /// Returns whether it ended as it should, so that nothing is to be explained.
    pub(super) fn is_orderly(&self) -> bool {
        self.close().and_then(|close| close.path.is_abnormal()) == Some(false)
    }

    fn step(&self, from: Side, flags: SegmentFlags) -> Option<&Step> {
        let mut steps = self.steps().iter();
        steps.find(|step| step.from == from && step.flags == flags)
    }

    /// Returns when it sent its FIN for the first time, where that was observed.
    pub(super) fn fin_sent(&self) -> Option<Nanos> {
        observed(self.step(Side::Local, SegmentFlags::FinAck)?)
    }

    /// Returns when the peer's FIN came, where that was observed.
    pub(super) fn fin_received(&self) -> Option<Nanos> {
        observed(self.step(Side::Peer, SegmentFlags::FinAck)?)
    }

    /// Returns when the ACK of its FIN came, where that was observed as a segment of its own.
    pub(super) fn ack_received(&self) -> Option<Nanos> {
        observed(self.step(Side::Peer, SegmentFlags::Ack)?)
    }

    /// Returns whether an ACK of its FIN came, or may have.
    pub(super) fn may_be_acknowledged(&self) -> bool {
        self.step(Side::Peer, SegmentFlags::Ack).is_some()
            || matches!(self, Self::Open(open) if open.state == TcpState::FinWait2)
    }

    /// Returns whether the peer's FIN came, or may have.
    pub(super) fn may_have_fin(&self) -> bool {
        let is_hidden = match self {
            Self::Open(open) => matches!(
                open.state,
                TcpState::CloseWait | TcpState::LastAck | TcpState::Closing
            ),
            Self::Closed(close) => {
                close.path == ClosePath::Unknown || close.initiator == Initiator::Unknown
            }
        };
        is_hidden || self.step(Side::Peer, SegmentFlags::FinAck).is_some()
    }

    /// Returns when a RST of the peer's ended it, or one that looks like it.
    pub(super) fn reset_received(&self) -> Option<Nanos> {
        let close = self.close()?;
        let is_reset = close.path == ClosePath::Reset
            && close
                .reset
                .as_ref()
                .is_some_and(|reset| reset.by == Side::Peer);
        let last = close.steps.last().filter(|step| step.is_reset());
        is_reset.then(|| last.and_then(|step| step.at).unwrap_or(close.at))
    }

    /// Returns when it ended otherwise than by FINs, where that is known exactly.
    pub(super) fn ended_abnormally(&self) -> Option<Nanos> {
        let close = self.close()?;
        let is_known = matches!(
            close.path,
            ClosePath::Reset | ClosePath::Timeout | ClosePath::Destroyed
        );
        is_known.then_some(close.at)
    }
}

fn observed(step: &Step) -> Option<Nanos> {
    step.at.filter(|_| step.known == Certainty::Observed)
}

/// The two ends of a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The end that recording A has, and the one that B has.
    pub ends: [RecordedEndpoint; 2],
    /// Whether only addresses and times have joined them.
    pub by_address: bool,
}

/// A pair that several lists have.
pub type SharedPair = Arc<Pair>;

impl Pair {
    /// Returns the end that a recording has.
    #[must_use]
    pub const fn end(&self, host: Host) -> &RecordedEndpoint {
        let [a, b] = &self.ends;
        match host {
            Host::A => a,
            Host::B => b,
        }
    }

    /// Returns on which host the connection was accepted, where that is known.
    #[must_use]
    pub fn server(&self) -> Option<Host> {
        let [a, b] = &self.ends;
        match (a.endpoint().role, b.endpoint().role) {
            (Role::Server, _) | (_, Role::Client) => Some(Host::A),
            (Role::Client, _) | (_, Role::Server) => Some(Host::B),
            (Role::Unknown, Role::Unknown) => None,
        }
    }

    /// Returns whether the address of an endpoint is another one at the other end.
    pub(super) fn is_translated(&self, host: Host) -> bool {
        self.end(host).endpoint().tuple.local() != self.end(host.other()).endpoint().tuple.peer()
    }
}
