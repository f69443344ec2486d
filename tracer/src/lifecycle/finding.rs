//! What the core has found out. The output writes these down; the names are DESIGN.md's words.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use tcpclose_common::TcpState;

use super::leak::{Holder, Leak, LeakEnd, LeakEvent, Leaker, OwnerUnknown};
use super::summary::Summary;
use super::types::{ConnId, Known, Nanos, NetNs, Role, SharedOwner, Tuple};

/// One finding, in the order in which it became known.
#[derive(Clone, Debug)]
pub enum Finding {
    /// A connection end has closed and its path is known as well as it ever will be.
    Close(Box<Close>),
    /// A connection end has left TIME_WAIT.
    TimeWait(Box<TimeWait>),
    /// A connection end is stuck in CLOSE_WAIT, or is no longer.
    Leak(Box<Stuck>),
    /// Something that should have been seen was not.
    Loss(Loss),
    /// What an interval was like.
    Summary(Box<Summary>),
}

impl Finding {
    /// When it became known.
    #[must_use]
    pub fn at(&self) -> Nanos {
        match self {
            Self::Close(close) => close.at,
            Self::TimeWait(time_wait) => time_wait.at,
            Self::Leak(stuck) => stuck.at,
            Self::Summary(summary) => summary.to,
            Self::Loss(loss) => loss.at,
        }
    }
}

/// Which connection end a finding is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conn {
    /// The socket cookie, or where the kernel gives none a number of our own.
    pub id: ConnId,
    /// The network namespace it lived in.
    pub netns: NetNs,
    /// Its addresses and ports.
    pub tuple: Tuple,
    /// Whether this end opened the connection.
    pub role: Role,
    /// False when the connection is older than the tracer or its opening was lost.
    pub seen_from_start: bool,
    /// When it became established; `None` when it never did or nobody saw it.
    pub opened: Option<Nanos>,
    /// From established (or from the first SYN when it never was) to the end of this end, TIME_WAIT excluded.
    pub lifetime: Option<Nanos>,
}

/// The close of one connection end.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// When this end was done: closed, or entered TIME_WAIT.
    pub at: Nanos,
    /// Which end.
    pub conn: Conn,
    /// Whose it was, where that is known.
    pub owner: Option<SharedOwner>,
    /// The kind of close.
    pub path: ClosePath,
    /// Who sent the first FIN or RST.
    pub initiator: Initiator,
    /// The closing segments, in order. Incomplete where `segments` is `None`.
    pub steps: Steps,
    /// How many closing segments there were, this end's FIN retransmissions included; `None` when that is not known.
    pub segments: Option<u32>,
    /// States passed, from ESTABLISHED on, with the time spent in each; `None` where the start was not seen.
    pub states: States,
    /// Application bytes each way.
    pub bytes: Bytes,
    /// Segments this end sent again in the connection's whole life.
    pub retransmits: Option<u32>,
    /// Who reset it and why; `None` when nobody did.
    pub reset: Option<Reset>,
    /// The time in which only one side had closed, where it was used.
    pub half_close: Option<HalfClose>,
}

/// The steps of a close. No path has more than five, so they take no allocation of their own.
pub type Steps = SmallVec<[Step; 5]>;

/// States with the time spent in each, where that is known.
pub type States = SmallVec<[(TcpState, Option<Nanos>); 4]>;

/// How a connection closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosePath {
    /// FIN, ACK, FIN, ACK.
    FourWay,
    /// The second FIN carried the ACK of the first.
    ThreeWay,
    /// Both FINs crossed (RFC 9293, figure 13).
    Simultaneous,
    /// A RST ended it.
    Reset,
    /// The kernel gave up waiting for the peer.
    Timeout,
    /// An administrator's `SOCK_DESTROY` (`ss -K`).
    Destroyed,
    /// It never was established.
    ConnectFailed,
    /// The evidence does not tell.
    Unknown,
}

impl ClosePath {
    /// The word of the JSON, the table and the docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FourWay => "four_way",
            Self::ThreeWay => "three_way",
            Self::Simultaneous => "simultaneous",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Destroyed => "destroyed",
            Self::ConnectFailed => "connect_failed",
            Self::Unknown => "unknown",
        }
    }
}

/// Who sent the first FIN or RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are their names")]
pub enum Initiator {
    Local,
    Peer,
    Both,
    Unknown,
}

impl Initiator {
    /// The word of the JSON, the table and the docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
            Self::Both => "both",
            Self::Unknown => "unknown",
        }
    }
}

/// An end of the connection, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are their names")]
pub enum Side {
    Local,
    Peer,
}

impl Side {
    /// The word of the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Peer => "peer",
        }
    }
}

/// The flags of a closing segment that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "they are their names")]
pub enum SegmentFlags {
    FinAck,
    Ack,
    Rst,
    RstAck,
}

impl SegmentFlags {
    /// As the JSON writes them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FinAck => "FIN,ACK",
            Self::Ack => "ACK",
            Self::Rst => "RST",
            Self::RstAck => "RST,ACK",
        }
    }
}

/// One closing segment, as a capture would show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who sent it.
    pub from: Side,
    /// Its flags.
    pub flags: SegmentFlags,
    /// Sequence number relative to the sender's ISN, as Wireshark prints it (the SYN is 0).
    pub seq: Option<u32>,
    /// Acknowledgment number relative to the receiver's ISN.
    pub ack: Option<u32>,
    /// When this end sent or received it; `None` where only the fact is known.
    pub at: Option<Nanos>,
    /// How the segment is known. What is `Observed` no capture contradicts.
    pub known: Known,
}

impl Step {
    /// Whether it ends the connection on the spot.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        matches!(self.flags, SegmentFlags::Rst | SegmentFlags::RstAck)
    }
}

/// Application bytes of a connection; `None` where the start was not seen and the kernel's counters leave it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Sent at least once by this end, retransmissions not counted.
    pub sent: Option<u64>,
    /// Received in order by this end.
    pub received: Option<u64>,
}

/// Who reset a connection, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Who sent the RST.
    pub by: Side,
    /// The cause; `None` where it is not known (a peer's motives seldom are).
    pub reason: Option<ResetReason>,
    /// The kernel's own name of the reason (`enum sk_rst_reason` without its prefix), from 6.10 on.
    pub kernel_reason: Option<&'static str>,
}

/// Why a RST was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetReason {
    /// close() with received data that the application had not read (RFC 1122, 4.2.2.13).
    UnreadData,
    /// close() with `SO_LINGER` on and a time of zero.
    Linger,
    /// Nobody listens there, or the socket is gone.
    NoSocket,
    /// The listening socket was closed with this connection still in its accept queue.
    NotAccepted,
    /// The peer sent data after this end had closed both directions.
    DataAfterClose,
    /// Keepalive probes went unanswered.
    Keepalive,
    /// The peer did not answer in time.
    Timeout,
    /// `SOCK_DESTROY`.
    Destroyed,
    /// connect() to `AF_UNSPEC`, or another local abort.
    Disconnect,
}

impl ResetReason {
    /// The word of the JSON, the table and the docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnreadData => "unread_data",
            Self::Linger => "linger",
            Self::NoSocket => "no_socket",
            Self::NotAccepted => "not_accepted",
            Self::DataAfterClose => "data_after_close",
            Self::Keepalive => "keepalive",
            Self::Timeout => "timeout",
            Self::Destroyed => "destroyed",
            Self::Disconnect => "disconnect",
        }
    }
}

/// The time between the two FINs of a connection that was really used half-closed: data still moved, or the side that
/// closed first kept its socket to go on reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfClose {
    /// Who had closed its direction.
    pub by: Side,
    /// From the first FIN to the second FIN or the end.
    pub lasted: Nanos,
    /// Application bytes this end sent in that time.
    pub bytes_sent: u64,
    /// Application bytes this end received in that time.
    pub bytes_received: u64,
}

/// The TIME_WAIT of one connection end, when it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWait {
    /// When it ended.
    pub at: Nanos,
    /// Which end; its lifetime is that before TIME_WAIT.
    pub conn: Conn,
    /// Whose it was, where that is known. The minisocket itself belongs to nobody.
    pub owner: Option<SharedOwner>,
    /// When it began.
    pub entered: Nanos,
    /// How long it lasted.
    pub dwell: Nanos,
    /// How it ended.
    pub end: TimeWaitEnd,
    /// How that is known.
    pub measured: Measured,
    /// The dwell is right to this, either way.
    pub error: Nanos,
    /// How often its timer was seen to start anew: the peer's FIN came again.
    pub restarts: u32,
}

/// How a TIME_WAIT ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeWaitEnd {
    /// Its timer fired.
    Expired,
    /// A connect() of this host took its addresses and ports (`tcp_tw_reuse`).
    Reused,
    /// The peer's SYN opened the same connection again.
    Recycled,
    /// It went before its time: a RST (RFC 1337), `SOCK_DESTROY`, or its namespace's end.
    Killed,
    /// It never existed: there were `tcp_max_tw_buckets` already.
    Overflow,
    /// Nobody saw.
    Unknown,
}

impl TimeWaitEnd {
    /// The word of the JSON, the table and the docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Reused => "reused",
            Self::Recycled => "recycled",
            Self::Killed => "killed",
            Self::Overflow => "overflow",
            Self::Unknown => "unknown",
        }
    }
}

/// How the end of a TIME_WAIT is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Measured {
    /// A program in the kernel saw it.
    Hook,
    /// The kernel's timer told the earliest time, the first look after it the latest.
    Timer,
    /// Two looks bracket it.
    Sweep,
}

impl Measured {
    /// The word of the JSON and the docs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hook => "hook",
            Self::Timer => "timer",
            Self::Sweep => "sweep",
        }
    }
}

/// A connection end that is stuck in CLOSE_WAIT, or is no longer: [`Leak::event`] says which.
#[derive(Clone, Debug, PartialEq)]
pub struct Stuck {
    /// When this was found out; of one that is resolved, when that happened.
    pub at: Nanos,
    /// Which end. Its lifetime is not known before it closes.
    pub conn: Conn,
    /// Since when, and why.
    pub leak: Leak,
    /// How it was resolved; `None` while it is not.
    pub end: Option<LeakEnd>,
    /// Whose it is, where that is known.
    pub owner: Option<SharedOwner>,
    /// Why it is not known whose it is.
    pub owner_unknown: Option<OwnerUnknown>,
    /// All processes that hold it, by their ids.
    pub holders: Vec<Holder>,
    /// What /proc told of the owner.
    pub leaker: Option<Leaker>,
}

impl Stuck {
    /// It is stuck no longer.
    pub(crate) fn resolve(&mut self, at: Nanos, end: LeakEnd) {
        self.at = at;
        self.leak.event = LeakEvent::Resolved;
        self.end = Some(end);
        // What was to come of a process that is gone comes no more.
        if matches!(end, LeakEnd::ProcessExited | LeakEnd::Unknown)
            && let Some(leaker) = &mut self.leaker
        {
            leaker.forecast = None;
        }
    }

    /// The descriptors that its owner has of it.
    #[must_use]
    pub fn fds(&self) -> &[u32] {
        let pid = self.owner.as_ref().map(|owner| owner.pid);
        let held = self.holders.iter().find(|holder| Some(holder.pid) == pid);
        held.map_or(&[], |holder| &holder.fds)
    }
}

/// Records or connections that were lost: nothing is lost in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// When it was noticed.
    pub at: Nanos,
    /// How many.
    pub lost: u64,
    /// Where.
    pub place: LossPlace,
    /// The table of live ends has been compared with the kernel's since.
    pub repaired: bool,
}

/// Where something was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LossPlace {
    /// Records that found the kernel's ring buffer full.
    Ring,
    /// Runs of the eBPF programs that the kernel skipped, because they were running on that CPU already.
    Program,
    /// Live connections evicted from the full table.
    Table,
    /// Findings that a slow output could not take.
    Output,
    /// Records that could not be understood.
    Decode,
    /// What a recording lacks, because the disk was too slow.
    Recording,
}

impl LossPlace {
    /// The word of the JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ring => "ring",
            Self::Program => "program",
            Self::Table => "table",
            Self::Output => "output",
            Self::Decode => "decode",
            Self::Recording => "recording",
        }
    }
}
