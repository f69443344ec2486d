//! A socket that may be stuck, as the kernel describes it at one moment.

use serde::{Deserialize, Serialize};
use tcpclose_common::TcpState;

use super::rule::StuckRule;
use crate::kernel_ids::zero_is_none;
use crate::types::{CgroupId, EndpointId, Inode, InterfaceIndex, Nanos, NetNs, Opening, Tuple};

/// A socket in a state in which it can be stuck, as a scan or a probe has seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedSocket {
    /// The socket cookie.
    pub id: EndpointId,
    /// The socket's present state.
    pub state: TcpState,
    /// Whether it is an MPTCP connection. Of those in recordings none is: they are not traced.
    #[serde(skip)]
    pub mptcp: bool,
    /// How it came to its connection, where that is proven. Recordings do not name it: what is
    /// traced has a role.
    #[serde(skip)]
    pub opening: Option<Opening>,
    /// The network namespace it lives in, where that is known.
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// The interface it is bound to, if to one.
    #[serde(with = "zero_is_none")]
    pub interface: Option<InterfaceIndex>,
    /// Inode in sockfs; `None` while the connection waits to be accepted, and once its process has
    /// closed it.
    #[serde(with = "zero_is_none")]
    pub inode: Option<Inode>,
    /// User id of the process that accepted or created it; 0 while it waits to be accepted.
    pub uid: u32,
    /// Id of the cgroup (v2) that it was created in, where that is known.
    #[serde(with = "zero_is_none")]
    pub cgroup: Option<CgroupId>,
    /// Bytes received and not read, plus one for a FIN that was not consumed. Of an MPTCP
    /// connection the memory that received bytes take, the FIN none.
    pub queued: u32,
    /// Bytes written and not acknowledged by the peer. The own FIN counts one.
    pub unsent: u32,
    /// What the peer has left unanswered so far; `None` where nothing was sent again.
    pub unanswered: Option<Unanswered>,
    /// Whether the keepalive timer runs: an ACK may then be the answer to a probe.
    pub keepalive: bool,
    /// When it was seen to enter its state; `None` where that was not seen.
    pub entered: Option<Nanos>,
    /// What the kernel's `tcp_info` shows; `None` where it gave none.
    pub activity: Option<Activity>,
}

/// What was sent to the peer more than once, or to find out whether it is there, and has brought no
/// answer so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// What was sent.
    pub kind: UnansweredKind,
    /// How many times it has fired without an answer.
    pub count: u8,
    /// For how long at least the first of them has had no answer, where the kernel's timer shows
    /// that.
    pub at_least: Option<Nanos>,
}

/// What a peer leaves unanswered.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, strum::Display, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum UnansweredKind {
    /// Data or a FIN that was sent again.
    Retransmissions,
    /// Probes of a closed window.
    WindowProbes,
    /// Keepalive probes of an idle connection.
    KeepaliveProbes,
}

/// When something last moved on a connection, and how much has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Time since data last came; `None` when none ever did.
    pub since_data: Option<Nanos>,
    /// Time since a segment with an acceptable ACK last came. The peer's FIN is one.
    pub since_ack: Nanos,
    /// Bytes that the peer has acknowledged.
    pub bytes_acked: u64,
    /// Time since data was last sent; `None` when none ever was, or when it was sent again for lack
    /// of an answer.
    pub since_sent: Option<Nanos>,
}

impl ObservedSocket {
    /// Returns the bytes that the application has not read; the FIN is none. `None`: the kernel
    /// shows of an MPTCP connection only that there are some.
    #[must_use]
    pub const fn unread(&self) -> Option<u32> {
        match (self.mptcp, self.queued) {
            (true, 1..) => None,
            (_, queued) if self.has_peer_fin() => Some(queued.saturating_sub(1)),
            (_, queued) => Some(queued),
        }
    }

    /// Returns whether the peer's FIN has come.
    const fn has_peer_fin(&self) -> bool {
        matches!(
            self.state,
            TcpState::CloseWait | TcpState::LastAck | TcpState::Closing
        )
    }

    /// Returns whether its process has closed it, so that the kernel alone keeps it: it has no
    /// file, and a connection that waits to be accepted is in no such state.
    #[must_use]
    pub const fn is_orphan(&self) -> bool {
        self.inode.is_none()
            && matches!(
                self.state,
                TcpState::FinWait1 | TcpState::FinWait2 | TcpState::LastAck | TcpState::Closing
            )
    }

    /// Returns whether it waits to be accepted.
    #[must_use]
    pub const fn waits_for_accept(&self) -> bool {
        self.inode.is_none() && !self.is_orphan()
    }

    /// Returns whether it can be stuck: its state allows that, and the kernel does not end it by
    /// itself. That it does in FIN_WAIT2 once the socket is closed. Of MPTCP connections only
    /// CLOSE_WAIT is judged.
    #[must_use]
    pub fn can_be_stuck(&self) -> bool {
        match StuckRule::for_state(self.state) {
            None => false,
            Some(StuckRule::Close) => true,
            Some(StuckRule::PeerFin) => !self.mptcp && !self.is_orphan(),
            Some(StuckRule::Acknowledgement | StuckRule::Silence) => !self.mptcp,
        }
    }

    /// Returns whether an established connection may be dead: the peer leaves something
    /// unanswered, or nothing has moved for `silent_after` and no keepalive timer would find out
    /// that the peer is gone.
    #[must_use]
    pub fn may_be_dead(&self, silent_after: Nanos) -> bool {
        let is_silent = |activity: Activity| {
            let spans = [activity.since_data, activity.since_sent];
            let spans = spans.into_iter().flatten();
            spans.chain([activity.since_ack]).min() >= Some(silent_after)
        };
        self.state == TcpState::Established
            && (self.unanswered.is_some()
                || !self.keepalive && self.activity.is_some_and(is_silent))
    }

    /// Returns for how long the peer has not read what waits for it: bytes wait, and it answers
    /// without taking them, as its window is closed. Were they on their way, they would have been
    /// sent again since.
    #[must_use]
    pub fn peer_window_closed_for(&self) -> Option<Nanos> {
        let activity = self.activity.filter(|_| self.unsent > 0)?;
        activity
            .since_sent
            .filter(|sent| *sent > activity.since_ack)
    }

    /// Returns when bytes were last sent that are still on their way, or that were sent in this
    /// state.
    pub(super) fn last_sent_at(&self, now: Nanos) -> Option<Nanos> {
        let sent = now - self.activity?.since_sent?;
        let in_this_state = self.entered.is_some_and(|entered| sent > entered);
        (self.unsent > 0 || in_this_state).then_some(sent)
    }
}
