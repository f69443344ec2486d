//! A TIME_WAIT that is over.

use strum::{Display, IntoStaticStr, VariantArray};

use crate::endpoint::Endpoint;
use crate::types::{Nanos, SharedOwner};

/// The TIME_WAIT of one endpoint, once it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWait {
    /// When the TIME_WAIT ended.
    pub at: Nanos,
    /// The endpoint. Its lifetime ends where TIME_WAIT begins.
    pub endpoint: Endpoint,
    /// The process it belonged to, where that is known. The minisocket itself belongs to none.
    pub owner: Option<SharedOwner>,
    /// When the TIME_WAIT began.
    pub entered: Nanos,
    /// How long the TIME_WAIT lasted.
    pub dwell: Nanos,
    /// How the TIME_WAIT ended.
    pub end: TimeWaitEnd,
    /// How the end is known.
    pub measured: EndSource,
    /// The largest error of `dwell`, in either direction.
    pub error: Nanos,
    /// How often the timer was seen to restart because the peer's FIN came again.
    pub restarts: u32,
}

/// How a TIME_WAIT ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TimeWaitEnd {
    /// The timer fired.
    Expired,
    /// A connect() of this host took its addresses and ports (`tcp_tw_reuse`).
    Reused,
    /// The peer's SYN opened the same connection again.
    Recycled,
    /// The minisocket was removed before its time: by a RST (RFC 1337), by `SOCK_DESTROY`, or with
    /// its namespace.
    Killed,
    /// The minisocket never existed: there were `tcp_max_tw_buckets` already.
    Overflow,
    /// The end was not seen.
    Unknown,
}

/// How the end of a TIME_WAIT is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EndSource {
    /// An eBPF program saw the end.
    Hook,
    /// The kernel's timer shows the earliest time, the first poll after it the latest.
    Timer,
    /// The end lies between two polls.
    #[strum(serialize = "sweep")]
    Poll,
}
