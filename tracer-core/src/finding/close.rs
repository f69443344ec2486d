//! A close: its path, its segments, and why.

use serde::Deserialize;
use smallvec::SmallVec;
use strum::{Display, IntoStaticStr, VariantArray};
use tcpclose_common::TcpState;

use super::cause::Cause;
use crate::endpoint::Endpoint;
use crate::types::{Certainty, Nanos, SharedOwner};

/// The close of one endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Close {
    /// When the endpoint was done: closed, or entered TIME_WAIT.
    pub at: Nanos,
    /// The endpoint that closed.
    pub endpoint: Endpoint,
    /// The process it belonged to, where that is known.
    pub owner: Option<SharedOwner>,
    /// The kind of close.
    pub path: ClosePath,
    /// The side that sent the first FIN or RST.
    pub initiator: Initiator,
    /// Why it ended that way; `None` if it was orderly, or if nothing proves a cause.
    pub cause: Option<Cause>,
    /// How long no data had been sent or received when the first FIN or RST was; `None` where that
    /// is not known. Data that passed the peer's FIN on its way does not count, if it is proven
    /// that it did. Accurate to a tick of the kernel's clock, 1 to 10 ms.
    pub idle: Option<Nanos>,
    /// Why the peer reset the connection, where its end is on this host and proves that.
    pub peer_cause: Option<Cause>,
    /// `sk_err` of a connect() that failed, where the kernel set it.
    pub connect_error: Option<u16>,
    /// The data that an abnormal close of an established connection destroyed; `None` for others,
    /// and where nothing shows it.
    pub lost: Option<Lost>,
    /// The closing segments, in order. Incomplete where `segments` is `None`.
    pub steps: Steps,
    /// The number of closing segments, including retransmissions of the local FIN; `None` if it is
    /// not known.
    pub segments: Option<u32>,
    /// The states passed, from ESTABLISHED on, with the time spent in each; `None` where its start
    /// was not seen.
    pub states: StateDurations,
    /// The application bytes in each direction.
    pub bytes: Bytes,
    /// The number of segments that this host retransmitted in the connection's whole life.
    pub retransmits: Option<u32>,
    /// The reset; `None` if the connection was not reset.
    pub reset: Option<Reset>,
    /// The time in which only one side had closed, if the connection was used half-closed.
    pub half_close: Option<HalfClose>,
}

/// The steps of a close. No path has more than five, so they take no allocation of their own.
pub type Steps = SmallVec<[Step; 5]>;

/// The states that an endpoint passed, with the time spent in each where that is known.
pub type StateDurations = SmallVec<[(TcpState, Option<Nanos>); 4]>;

/// The kind of a close.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
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
    /// The connection was never established.
    ConnectFailed,
    /// The evidence does not show it.
    Unknown,
}

impl ClosePath {
    /// Returns whether a user would call such a close an error; `None` if the path is unknown.
    #[must_use]
    pub const fn is_abnormal(self) -> Option<bool> {
        match self {
            Self::FourWay | Self::ThreeWay | Self::Simultaneous => Some(false),
            Self::Reset | Self::Timeout | Self::Destroyed | Self::ConnectFailed => Some(true),
            Self::Unknown => None,
        }
    }
}

/// The side that sent the first FIN or RST.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Initiator {
    Local,
    Peer,
    Both,
    Unknown,
}

/// A side of the connection, seen from this host.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Display, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Side {
    Local,
    Peer,
}

/// The flags of a closing segment that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SegmentFlags {
    #[strum(serialize = "FIN,ACK")]
    FinAck,
    #[strum(serialize = "ACK")]
    Ack,
    #[strum(serialize = "RST")]
    Rst,
    #[strum(serialize = "RST,ACK")]
    RstAck,
}

/// One closing segment, as a capture would show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The side that sent the segment.
    pub from: Side,
    /// The segment's flags.
    pub flags: SegmentFlags,
    /// Sequence number relative to the sender's ISN, as Wireshark prints it (the SYN is 0).
    pub seq: Option<u32>,
    /// Acknowledgment number relative to the receiver's ISN.
    pub ack: Option<u32>,
    /// When this host sent or received the segment; `None` if the time is not known.
    pub at: Option<Nanos>,
    /// How the segment is known. What is `Observed` no capture contradicts.
    pub known: Certainty,
}

impl Step {
    /// Returns whether the segment is a RST, which ends the connection at once.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        matches!(self.flags, SegmentFlags::Rst | SegmentFlags::RstAck)
    }
}

/// Application bytes of a connection; `None` where the start was not seen and the kernel's counters
/// leave it open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Bytes sent by this host, not counting retransmissions.
    pub sent: Option<u64>,
    /// Bytes received in order by this host.
    pub received: Option<u64>,
}

/// Data that an abnormal close destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Bytes that the application had written and the peer had not acknowledged. Some of them may
    /// have reached it.
    pub unacknowledged: u32,
    /// Bytes that had been received and were dropped unread; `None` where there were some, whose
    /// number the kernel side does not send.
    pub unread: Option<u32>,
}

/// The reset of a connection: its sender and its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    /// The side that sent the RST.
    pub by: Side,
    /// The cause; `None` if it is not known (a peer's cause seldom is).
    pub reason: Option<ResetReason>,
    /// The kernel's own name of the reason (`enum sk_rst_reason` without its prefix), from 6.10 on.
    pub kernel_reason: Option<&'static str>,
}

/// The cause of a RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum ResetReason {
    /// close() with received data that the application had not read (RFC 1122, 4.2.2.13).
    UnreadData,
    /// close() with `SO_LINGER` on and a time of zero.
    Linger,
    /// No socket listens on the port, or the socket is gone.
    NoSocket,
    /// The listening socket was closed with this connection still in its accept queue.
    NotAccepted,
    /// The peer sent data after this host had closed both directions.
    DataAfterClose,
    /// Keepalive probes went unanswered.
    Keepalive,
    /// The peer did not answer in time.
    Timeout,
    /// An administrator ended it with `SOCK_DESTROY` (`ss -K`).
    Destroyed,
    /// connect() to `AF_UNSPEC`, or another local abort.
    Disconnect,
}

/// The time between the two FINs of a connection that was used half-closed: data was still sent, or
/// the side that closed first kept its socket for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HalfClose {
    /// The side that closed first.
    pub by: Side,
    /// The time from the first FIN to the second FIN, or to the end.
    pub lasted: Nanos,
    /// The application bytes that this host sent in that time.
    pub bytes_sent: u64,
    /// The application bytes that this host received in that time.
    pub bytes_received: u64,
}
