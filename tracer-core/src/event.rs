//! What the kernel reports: state transitions and signals of sockets.

use serde::{Deserialize, Serialize};
use tcpclose_common::{COMM_LEN, TcpState};

use super::interner::{self, StaticName};
use super::kernel_ids::zero_is_none;
use super::types::{CgroupId, EndpointId, Nanos, NetNs, SocketAddress, Tuple};

/// Something that the kernel reported about one socket.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A transition of the socket's state.
    Transition(Transition),
    /// An event other than a transition.
    Signal(Signal),
}

impl Event {
    /// Returns when the event happened.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Transition(transition) => transition.at,
            Self::Signal(signal) => signal.at,
        }
    }
}

/// A state transition, with the socket's fields just before it took effect.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Transition {
    /// When the event happened.
    pub at: Nanos,
    /// The socket's cookie, or its address where the kernel gives none.
    pub id: EndpointId,
    /// The kernel's address of the socket, where known: for people who know it from bcc's tools.
    #[serde(with = "zero_is_none")]
    pub skaddr: Option<SocketAddress>,
    /// The network namespace it lives in; the classic tracepoint does not give it.
    #[serde(with = "zero_is_none")]
    pub netns: Option<NetNs>,
    /// Its addresses; the local port is 0 until one is chosen.
    pub tuple: Tuple,
    /// The state left.
    pub old: TcpState,
    /// The state entered.
    pub new: TcpState,
    /// The task whose system call drove the transition, and only then.
    pub task: Option<Task>,
    /// The socket's own evidence; the classic tracepoint has none.
    pub evidence: Option<Evidence>,
}

/// A process, at the time of a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Task {
    /// Process id (tgid).
    pub pid: u32,
    /// User id.
    pub uid: u32,
    /// Cgroup (v2) id, where known.
    #[serde(with = "zero_is_none")]
    pub cgroup: Option<CgroupId>,
    /// Process name, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Whether all threads of the process are past exit(), so that its exit closes the descriptors;
    /// `None` if the kernel does not show it.
    pub exits: Option<bool>,
}

/// Fields of `struct sock` and `struct tcp_sock`, under the kernel's names. Sequence numbers are
/// absolute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the kernel's names; meanings stand at tcpclose_common::TransitionRecord"
)]
pub struct Evidence {
    pub snd_una: u32,
    pub snd_nxt: u32,
    pub write_seq: u32,
    pub rcv_nxt: u32,
    pub snd_wnd: u32,
    pub snd_wl1: u32,
    pub segs_in: u32,
    pub segs_out: u32,
    pub bytes_acked: u64,
    pub bytes_received: u64,
    pub error: u16,
    /// Segments that came out of order (`rcv_ooopack`), at most 65,535.
    pub out_of_order: u16,
    pub retransmits: u32,
    /// `SOCK_DEAD`: orphaned.
    pub dead: bool,
    /// `SOCK_DONE`: the peer's FIN came.
    pub done: bool,
    /// The peer's FIN carried no data.
    pub fin_alone: bool,
    /// The application has not read all data that came.
    pub unread: bool,
    /// `sk_socket` is NULL.
    pub no_socket: bool,
    /// A process holds the socket's lock.
    pub owned: bool,
    /// `SO_LINGER` with a time of zero.
    pub linger_zero: bool,
    /// The connection uses timestamps.
    pub timestamps: bool,
    /// The last segment that came carried a timestamp.
    pub saw_timestamp: bool,
    /// `TCP_REPAIR`: the connection is being moved elsewhere, and close() sends nothing.
    pub repair: bool,
}

impl Evidence {
    /// Whether a FIN that is queued now leaves at once: nothing waits before it, and the peer's
    /// window has room for it (tcp_write_xmit; congestion control never holds a lone FIN back).
    #[must_use]
    pub fn fin_leaves_at_once(&self) -> bool {
        let in_flight = self.snd_nxt.wrapping_sub(self.snd_una);
        self.snd_nxt == self.write_seq && in_flight < self.snd_wnd
    }
}

/// A segment of the peer's, as the kernel read its header. Numbers are absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// FIN is set.
    pub fin: bool,
    /// RST is set.
    pub rst: bool,
    /// ACK is set: `ack` means something.
    pub has_ack: bool,
    /// Number of its first byte.
    pub seq: u32,
    /// The number behind it; SYN and FIN count.
    pub end: u32,
    /// The segment's acknowledgment number.
    pub ack: u32,
}

impl Segment {
    /// Returns whether the segment carries data.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.end.wrapping_sub(self.seq) > u32::from(self.fin)
    }
}

/// An event of a socket other than a transition.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Signal {
    /// When the event happened.
    pub at: Nanos,
    /// The socket's cookie, or its address where the kernel gives none.
    pub id: EndpointId,
    /// The kind of event.
    pub kind: SignalKind,
}

/// The kinds of [`Signal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignalKind {
    /// This host sent a RST for the socket.
    ResetSent {
        /// The kernel's name of the reason, without its prefix, where it gives one.
        #[serde(deserialize_with = "interner::optional")]
        reason: Option<StaticName>,
        /// The segment that the RST answers, if any.
        answers: Option<Segment>,
        /// Whether the minisocket answered, not the socket itself.
        minisocket: bool,
    },
    /// The kernel accepted a RST as the peer's.
    ResetReceived,
    /// A segment with this end's FIN was sent again.
    FinRetransmitted,
    /// The timer of the socket's minisocket was started or restarted.
    MinisocketArmed {
        /// Whether the minisocket is in TIME_WAIT. Otherwise it waits for the peer's FIN.
        time_wait: bool,
    },
    /// The minisocket is removed before its timer fires.
    MinisocketDescheduled,
    /// The minisocket is removed.
    MinisocketKilled,
    /// The minisocket received a FIN, or a RST that removed it.
    MinisocketSegment {
        /// The FIN or RST.
        segment: Segment,
        /// The minisocket is in TIME_WAIT now; if not, it still waited for the peer's FIN.
        time_wait: bool,
    },
}
