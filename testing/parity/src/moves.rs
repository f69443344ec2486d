//! The kinds of closes, and the moves that they consist of.

use std::fmt;
use std::net::Shutdown;
use std::time::Duration;

use tcpclose_parity::segment::Endpoint;

/// Kinds of closes. The names say what the two processes do; what comes of it on the wire is up to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One end closes, then the other.
    OneThenOther,
    /// One end shuts down its sending half, and data still moves, the other way or both.
    HalfClose,
    /// close() with data that has not been read.
    UnreadData,
    /// close() with `SO_LINGER` on and a time of zero.
    LingerZero,
    /// shutdown() of either half in any order, then close().
    ShutdownOrders,
    /// Ends while still in the accept queue, or is accepted only afterwards.
    AcceptQueue,
    /// Both ends close at the same moment.
    Simultaneous,
    /// The last data and the FIN are written together.
    FinWithData,
    /// Data for an end that has closed.
    DataAfterClose,
    /// The same addresses and ports three times, one after the other.
    PortReuse,
    /// Nobody listens.
    Refused,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::OneThenOther,
        Self::HalfClose,
        Self::UnreadData,
        Self::LingerZero,
        Self::ShutdownOrders,
        Self::AcceptQueue,
        Self::Simultaneous,
        Self::FinWithData,
        Self::DataAfterClose,
        Self::PortReuse,
        Self::Refused,
    ];
    /// How often each is drawn: the everyday closes more often than the rare ones.
    pub const DRAWN: [Self; 20] = [
        Self::OneThenOther,
        Self::OneThenOther,
        Self::OneThenOther,
        Self::OneThenOther,
        Self::HalfClose,
        Self::HalfClose,
        Self::HalfClose,
        Self::UnreadData,
        Self::UnreadData,
        Self::LingerZero,
        Self::LingerZero,
        Self::ShutdownOrders,
        Self::ShutdownOrders,
        Self::AcceptQueue,
        Self::AcceptQueue,
        Self::Simultaneous,
        Self::FinWithData,
        Self::DataAfterClose,
        Self::PortReuse,
        Self::Refused,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(match self {
            Self::OneThenOther => "one, then the other",
            Self::HalfClose => "half-close",
            Self::UnreadData => "unread data",
            Self::LingerZero => "linger zero",
            Self::ShutdownOrders => "shutdown orders",
            Self::AcceptQueue => "accept queue",
            Self::Simultaneous => "both at once",
            Self::FinWithData => "FIN with data",
            Self::DataAfterClose => "data after close",
            Self::PortReuse => "port reuse",
            Self::Refused => "refused",
        })
    }
}

/// What one end does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Writes so many bytes.
    Send(usize),
    /// Reads all that is there.
    Drain,
    /// shutdown().
    Shutdown(Shutdown),
    /// `SO_LINGER` with a time of zero.
    LingerZero,
    /// `TCP_CORK`: what is written waits.
    Cork,
    /// close().
    Close,
    /// The server takes the connection out of the accept queue.
    Accept,
    /// The server closes the listening socket.
    StopListening,
    /// Both ends close() at once.
    BothClose,
    /// Both ends shutdown(SHUT_WR) at once.
    BothShutdown,
}

/// An act and the wait before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Since the move before.
    pub after: Duration,
    /// Whose act; either's where both act.
    pub end: Endpoint,
    /// The act.
    pub act: Act,
}
