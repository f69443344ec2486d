//! A TIME_WAIT that is over.

use strum::{Display, IntoStaticStr, VariantArray};

use crate::endpoint::Endpoint;
use crate::types::{Nanos, SharedOwner};

/// The TIME_WAIT of one connection end, when it is over.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWait {
    /// When it ended.
    pub at: Nanos,
    /// Which end; its lifetime is that before TIME_WAIT.
    pub endpoint: Endpoint,
    /// The process it belonged to, where that is known. The minisocket itself belongs to none.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
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
    /// That was not seen.
    Unknown,
}

/// How the end of a TIME_WAIT is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Measured {
    /// A program in the kernel saw it.
    Hook,
    /// The kernel's timer shows the earliest time, the first poll after it the latest.
    Timer,
    /// It lies between two polls.
    #[strum(serialize = "sweep")]
    Poll,
}
