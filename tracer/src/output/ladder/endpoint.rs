//! What a ladder shows of one endpoint of a connection: its states, and where among its segments
//! they stand.

use tcpclose_common::TcpState;
use tcpclose_core::compare::EndpointView;
use tcpclose_core::finding::{Close, ClosePath, SegmentFlags, Side, Step};
use tcpclose_core::open_endpoint::OpenEndpoint;
use tcpclose_core::types::{Certainty, Nanos};

/// One endpoint of a connection.
#[derive(Clone, Debug)]
pub(super) struct LadderEndpoint<'a> {
    pub steps: &'a [Step],
    /// The lines at its side, in order.
    pub lines: Vec<StateLine>,
}

/// A state, or what stands for the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StateLine {
    /// How many of its segments stand above it.
    pub after: usize,
    pub name: &'static str,
    /// The time in the state.
    pub dwell: Option<Nanos>,
}

impl<'a> LadderEndpoint<'a> {
    /// Returns what is drawn of an endpoint.
    pub fn from_view(view: EndpointView<'a>) -> Self {
        match view {
            EndpointView::Closed(close) => Self::from_close(close),
            EndpointView::Open(open) => Self::from_open(open),
        }
    }

    /// Returns the end that a close is of.
    pub fn from_close(close: &'a Close) -> Self {
        let before = close.states.last().map(|(state, _)| *state);
        let last = match before {
            _ if waits(close) => "TIME_WAIT",
            Some(TcpState::FinWait2 | TcpState::Closing) if close.path == ClosePath::Unknown => {
                "(the end was not seen)"
            }
            _ => "CLOSED",
        };
        Self::new(&close.steps, &close.states, last)
    }

    /// Returns an endpoint that is still open.
    pub fn from_open(open: &'a OpenEndpoint) -> Self {
        let mut states = open.states.clone();
        states.push((open.state, None));
        Self::new(&open.steps, &states, "(still open)")
    }

    fn new(steps: &'a [Step], states: &[(TcpState, Option<Nanos>)], last: &'static str) -> Self {
        let mut lines = Vec::new();
        let mut states = states.iter().peekable();
        let mut push = |after, state: &(TcpState, Option<Nanos>)| {
            lines.push(StateLine {
                after,
                name: state.0.into(),
                dwell: state.1,
            });
        };
        if let Some(first) = states.next() {
            push(0, first);
        }
        for (number, step) in steps.iter().enumerate() {
            let later = steps.get(number + 1..).unwrap_or_default();
            let next = states.peek();
            if later.is_empty() && next.is_some_and(|(state, _)| !enters(*state, step, later)) {
                // It ended the last state: what led there is not among the segments.
                for state in states.by_ref() {
                    push(number, state);
                }
            }
            while let Some(state) = states.next_if(|(state, _)| enters(*state, step, later)) {
                push(number + 1, state);
            }
        }
        for state in states {
            push(steps.len(), state);
        }
        lines.push(StateLine {
            after: steps.len(),
            name: last,
            dwell: None,
        });
        Self { steps, lines }
    }

    /// Returns whether some of its segments are inferred.
    pub fn has_inferred(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| step.known == Certainty::Inferred)
    }
}

/// Returns whether a segment moves this endpoint into a state. An ACK that is still to come is the
/// one that acknowledges the local FIN.
fn enters(state: TcpState, step: &Step, later: &[Step]) -> bool {
    let is_fin = step.flags == SegmentFlags::FinAck;
    let is_local = step.from == Side::Local;
    match state {
        TcpState::FinWait1 | TcpState::LastAck => is_local && is_fin,
        TcpState::CloseWait | TcpState::Closing => !is_local && is_fin,
        TcpState::FinWait2 => {
            let is_ack = |step: &Step| step.from == Side::Peer && step.flags == SegmentFlags::Ack;
            is_ack(step) || (!is_local && is_fin && !later.iter().any(is_ack))
        }
        _ => false,
    }
}

/// Returns whether the endpoint waits in TIME_WAIT after its close.
pub(super) fn waits(close: &Close) -> bool {
    let last = close.states.last().map(|(state, _)| *state);
    close.path.is_abnormal() == Some(false)
        && matches!(last, Some(TcpState::FinWait2 | TcpState::Closing))
}
