//! What the kernel reports: state transitions and signals of sockets.

use serde::{Deserialize, Serialize};
use tcpclose_common::{COMM_LEN, TcpState};
pub use tcpclose_common::{SocketFlags, TcpFields};

use super::interner::{self, StaticName};
use super::kernel_ids::zero_is_none;
use super::types::{CgroupId, EndpointId, Nanos, NetNs, SocketAddress, Thread, Tuple};

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
    /// The kernel's address of the socket, where known: as the tools of bcc print it.
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
#[serde(remote = "Self")]
pub struct Task {
    /// Process id (tgid).
    pub pid: u32,
    /// The user id of the process.
    pub uid: u32,
    /// Cgroup (v2) id, where known.
    #[serde(with = "zero_is_none")]
    pub cgroup: Option<CgroupId>,
    /// Process name, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Whether all threads of the process are past exit(), so that its exit closes the descriptors;
    /// `None` if the kernel does not show it.
    pub exits: Option<bool>,
    /// The thread whose system call it was; known of connect() alone.
    #[serde(default)]
    pub thread: Option<Thread>,
}

impl Task {
    /// Returns the name without the NULs behind it.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.comm
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default()
    }
}

/// What the socket itself shows, just before a transition takes effect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was read from `struct tcp_sock`.
    pub tcp: TcpFields,
    /// The bits that were read beside it.
    pub flags: SocketFlags,
}

impl Evidence {
    /// Returns how long ago this host last sent data, for the first time or again; `None` where
    /// that is not known. Accurate to a tick of the kernel's clock, 1 to 10 ms.
    #[must_use]
    pub fn since_sent(&self) -> Option<Nanos> {
        if self.flags.fin_sent_time {
            return None;
        }
        since(self.tcp.sent_ms_ago)
    }

    /// Returns how long ago the segment with this host's FIN was last sent, where its ACK is taken
    /// now; `None` where that is not known.
    #[must_use]
    pub fn since_fin_sent(&self) -> Option<Nanos> {
        let micros = self.tcp.sent_ms_ago.checked_sub(1)?;
        let is_known = self.flags.fin_sent_time;
        is_known.then_some(Nanos::from_micros(micros.into()))
    }

    /// Returns how long ago this host last received data in order, as [`Self::since_sent`].
    #[must_use]
    pub fn since_received(&self) -> Option<Nanos> {
        since(self.tcp.received_ms_ago)
    }

    /// Returns whether the peer has acknowledged all that was ever queued, the FIN included.
    #[must_use]
    pub fn all_is_acknowledged(&self) -> bool {
        self.tcp.snd_una == self.tcp.write_seq
    }

    /// Returns whether a FIN that is queued now leaves at once, as far as the peer decides: nothing
    /// waits before it, and the peer's window has room for it (tcp_write_xmit).
    #[must_use]
    pub fn fin_leaves_at_once(&self) -> bool {
        let TcpFields {
            snd_una,
            snd_nxt,
            write_seq,
            snd_wnd,
            ..
        } = self.tcp;
        snd_nxt == write_seq && snd_nxt.wrapping_sub(snd_una) < snd_wnd
    }

    /// Returns whether a FIN that is queued now is certain to leave now: the congestion window,
    /// which is not known, may be full of what is in flight, and holds back a lone FIN, too (6.18).
    /// It begins with ten segments (`TCP_INIT_CWND`) and shrinks only after something was sent
    /// again.
    #[must_use]
    pub fn fin_leaves_surely(&self) -> bool {
        self.fin_leaves_at_once() && self.all_leaves_surely()
    }

    /// Returns whether a FIN that is queued now is certain to leave now, with or behind the data
    /// that waits (tcp_send_fin pushes it): the congestion window is that of
    /// [`Self::fin_leaves_surely`].
    #[must_use]
    pub fn all_leaves_surely(&self) -> bool {
        /// `TCP_MSS_DEFAULT` of linux/tcp.h: hardly a path has segments of fewer bytes.
        const TCP_MSS_DEFAULT: u32 = 536;
        const ROOM: u32 = 9 * TCP_MSS_DEFAULT;
        let TcpFields {
            snd_una,
            write_seq,
            snd_wnd,
            retransmits,
            ..
        } = self.tcp;
        let before_fin = write_seq.wrapping_sub(snd_una);
        let has_room = before_fin == 0 || (retransmits == 0 && before_fin <= ROOM);
        before_fin < snd_wnd && has_room
    }
}

/// Returns the time in a field of milliseconds plus one.
fn since(field: u32) -> Option<Nanos> {
    Some(Nanos::from_millis(field.checked_sub(1)?.into()))
}

/// A segment, as its header has it. Numbers are absolute.
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
    /// A segment with the local FIN was sent again.
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
    /// This host dropped a segment of the socket, after TCP had handed it to IP and before it left.
    SegmentDropped {
        /// What was dropped.
        segment: Segment,
        /// The kernel's name of the reason, without its prefix.
        #[serde(deserialize_with = "interner::optional")]
        reason: Option<StaticName>,
    },
}
