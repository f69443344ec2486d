//! What a workload does: for each close a plan, made from the seed alone.

use crate::moves::{Kind, Move};
use crate::random::Random;
use crate::script;

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
    use tcpclose_parity::segment::Endpoint;

    use super::*;
    use crate::moves::Act;

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
                assert!(
                    closed(Endpoint::Client) && closed(Endpoint::Server),
                    "{plan:?}"
                );
            }
        }
    }
}
