//! The kinds of closes, and the steps that they consist of.

use std::net::Shutdown;
use std::time::Duration;

use tcpclose_parity::segment::Endpoint;

/// Kinds of closes, named after what the two processes do. The kernel decides which segments that
/// sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseKind {
    /// One endpoint closes, then the other.
    OneThenOther,
    /// One endpoint shuts down its sending half, and data still moves, the other way or both.
    HalfClose,
    /// close() with data that has not been read.
    UnreadData,
    /// close() with `SO_LINGER` on and a time of zero.
    LingerZero,
    /// shutdown() of either half in any order, then close().
    ShutdownOrders,
    /// Ends while still in the accept queue, or is accepted only afterwards.
    AcceptQueue,
    /// Both endpoints close at the same moment.
    Simultaneous,
    /// The last data and the FIN are written together.
    FinWithData,
    /// Data for an endpoint that has closed.
    DataAfterClose,
    /// The same addresses and ports three times, one after the other.
    PortReuse,
    /// No process listens.
    Refused,
    /// Both endpoints close in the same microseconds, one with much data that it has not read: what
    /// arrives while close() holds the socket waits in its backlog.
    HeldSocket,
    /// The segments of both endpoints are under way for long.
    Delayed,
    /// Segments overtake each other.
    Reordered,
    /// A FIN is overtaken by what its endpoint sends later.
    HeldFin,
    /// ACKs without data come late.
    HeldAck,
    /// A RST comes late, or the data that it answers does.
    HeldReset,
    /// A FIN arrives before the data in front of it, and the other endpoint may end meanwhile.
    FinBehindHole,
    /// The FIN has to wait until the other endpoint reads.
    ClosedWindow,
    /// connect() is answered with ICMP.
    IcmpRefused,
    /// ICMP errors reach a connection that lives on.
    IcmpError,
    /// `SO_LINGER` with a time of zero after FINs have been sent or received.
    LateLinger,
    /// A negative `TCP_LINGER2`.
    NegativeLinger2,
    /// The client connects from a port on which it listens, too.
    DialFromListener,
}

impl CloseKind {
    /// All kinds of close.
    pub const ALL: [Self; 24] = [
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
        Self::HeldSocket,
        Self::Delayed,
        Self::Reordered,
        Self::HeldFin,
        Self::HeldAck,
        Self::HeldReset,
        Self::FinBehindHole,
        Self::ClosedWindow,
        Self::IcmpRefused,
        Self::IcmpError,
        Self::LateLinger,
        Self::NegativeLinger2,
        Self::DialFromListener,
    ];
    /// Returns a list to draw from: it has the everyday closes more often than the rare ones. Its
    /// order is part of what a seed means.
    pub fn weighted() -> Vec<Self> {
        let kinds = Self::ALL.into_iter();
        kinds
            .flat_map(|kind| std::iter::repeat_n(kind, kind.weight()))
            .collect()
    }

    const fn weight(self) -> usize {
        match self {
            Self::OneThenOther => 4,
            Self::HalfClose => 3,
            Self::UnreadData
            | Self::LingerZero
            | Self::ShutdownOrders
            | Self::AcceptQueue
            | Self::HeldSocket
            | Self::Delayed
            | Self::Reordered
            | Self::HeldFin => 2,
            _ => 1,
        }
    }

    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
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
            Self::HeldSocket => "held socket",
            Self::Delayed => "delayed",
            Self::Reordered => "reordered",
            Self::HeldFin => "late FIN",
            Self::HeldAck => "late ACK",
            Self::HeldReset => "late RST",
            Self::FinBehindHole => "FIN behind a hole",
            Self::ClosedWindow => "closed window",
            Self::IcmpRefused => "ICMP refusal",
            Self::IcmpError => "ICMP error",
            Self::LateLinger => "late linger zero",
            Self::NegativeLinger2 => "TCP_LINGER2 < 0",
            Self::DialFromListener => "dial from listener",
        }
    }

    /// Returns whether it goes over the queue.
    pub const fn is_queued(self) -> bool {
        !matches!(
            self,
            Self::OneThenOther
                | Self::HalfClose
                | Self::UnreadData
                | Self::LingerZero
                | Self::ShutdownOrders
                | Self::AcceptQueue
                | Self::Simultaneous
                | Self::FinWithData
                | Self::DataAfterClose
                | Self::PortReuse
                | Self::Refused
                | Self::HeldSocket
        )
    }

    /// Returns whether the handshake comes to its end.
    pub const fn is_established(self) -> bool {
        !matches!(self, Self::Refused | Self::IcmpRefused)
    }
}

/// What one endpoint does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Writes so many bytes.
    Send(usize),
    /// Writes until the socket takes no more.
    Fill,
    /// Reads all that is there.
    Drain,
    /// Reads so many bytes, if they are there.
    Read(usize),
    /// Reads until the peer's FIN, or for so long.
    DrainToEnd(Duration),
    /// shutdown().
    Shutdown(Shutdown),
    /// `SO_LINGER` with a time of zero.
    LingerZero,
    /// `TCP_LINGER2`, in seconds.
    Linger2(i32),
    /// `IP_RECVERR`: ICMP errors are reported, and stay in the socket.
    ReceiveErrors,
    /// `TCP_CORK`: what is written waits.
    Cork,
    /// close().
    Close,
    /// The server takes the connection out of the accept queue.
    Accept,
    /// The server closes the listening socket.
    StopListening,
    /// Both endpoints close() at once.
    BothClose,
    /// Both endpoints close(), this one so much earlier than the other.
    CloseTogether(Duration),
    /// Both endpoints shutdown(SHUT_WR) at once.
    BothShutdown,
}

/// An action and the wait before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Since the move before.
    pub after: Duration,
    /// Who acts; either endpoint where both do.
    pub endpoint: Endpoint,
    /// The action.
    pub action: Action,
}
