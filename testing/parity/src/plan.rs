//! What a workload does: for each close a plan, made from the seed alone.

use std::fmt;
use std::net::Shutdown;
use std::time::Duration;

use tcpclose_parity::closing::End;

use crate::random::Random;
use crate::script;

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
    /// The same addresses and ports three times in a row.
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
    const DRAWN: [Self; 20] = [
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

/// Which kind of sockets a connection uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 sockets.
    V4,
    /// IPv6 sockets.
    V6,
    /// IPv6 sockets with IPv4 on the wire.
    Mapped,
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
    pub end: End,
    /// The act.
    pub act: Act,
}

/// One connection from its opening to the close of both ends, or several with the same ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its kind.
    pub kind: Kind,
    /// Its sockets.
    pub family: Family,
    /// What happens once the client has connected, for each connection in turn.
    pub rounds: Vec<Vec<Move>>,
}

/// So many closes, one after the other.
pub fn plans(seed: u64, closes: u64) -> Vec<Plan> {
    let mut plans = Vec::new();
    let (mut number, mut planned) = (0, 0);
    while planned < closes {
        let plan = Plan::draw(&mut Random::of(seed, number));
        number += 1;
        planned += plan.rounds.len() as u64;
        plans.push(plan);
    }
    plans
}

impl Plan {
    fn draw(random: &mut Random) -> Self {
        let kind = random.pick(&Kind::DRAWN);
        let family = random.pick(&[Family::V4, Family::V6, Family::Mapped]);
        let rounds = if kind == Kind::PortReuse { 3 } else { 1 };
        let rounds = (0..rounds).map(|_| script::draw(kind, random));
        Self {
            kind,
            family,
            rounds: rounds.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_workload() {
        assert_eq!(plans(7, 200), plans(7, 200));
        assert_ne!(plans(7, 200), plans(8, 200));
    }

    #[test]
    fn a_workload_has_all_kinds_and_as_many_closes_as_wanted() {
        let plans = plans(1, 2_000);
        let closes: usize = plans.iter().map(|plan| plan.rounds.len()).sum();
        assert!((2_000..2_003).contains(&closes), "{closes}");
        for kind in Kind::ALL {
            assert!(plans.iter().any(|plan| plan.kind == kind), "{kind}");
        }
    }

    #[test]
    fn every_end_is_closed_at_last() {
        for plan in plans(3, 500) {
            for moves in &plan.rounds {
                let closed = |end| moves.iter().any(|it| it.end == end && it.act == Act::Close);
                assert!(closed(End::Client) && closed(End::Server), "{plan:?}");
            }
        }
    }
}
