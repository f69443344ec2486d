//! What a workload does: for each close a plan, made from the seed alone.

use crate::network::Wire;
use crate::random::Random;
use crate::steps::{CloseKind, Step};
use crate::treatment::Treatment;
use crate::{queued, script};

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

/// One connection from its opening to the close of both endpoints, or several with the same ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its kind.
    pub kind: CloseKind,
    /// Its sockets.
    pub family: Family,
    /// What happens once the client has connected, for each connection in turn.
    pub rounds: Vec<Vec<Step>>,
    /// What happens to its segments; `None` where it goes over the bridge.
    pub treatment: Option<Treatment>,
}

/// So many closes, one after the other, with `lost` percent of the FINs and ACKs lost in the queue.
pub fn plans(seed: u64, closes: u64, lost: u32) -> Vec<Plan> {
    let kinds = CloseKind::weighted();
    let mut plans = Vec::new();
    let (mut number, mut planned) = (0, 0);
    while planned < closes {
        let mut plan = Plan::draw(&kinds, &mut Random::new(seed, number));
        if let Some(treatment) = &mut plan.treatment {
            treatment.lost = lost.into();
        }
        number += 1;
        planned += plan.rounds.len() as u64;
        plans.push(plan);
    }
    plans
}

impl Plan {
    fn draw(kinds: &[CloseKind], random: &mut Random) -> Self {
        let kind = random.pick(kinds);
        let family = random.pick(&[Family::V4, Family::V6, Family::Mapped]);
        if kind.is_queued() {
            let (steps, treatment) = queued::draw(kind, family == Family::V6, random);
            return Self {
                kind,
                family,
                rounds: vec![steps],
                treatment: Some(treatment),
            };
        }
        let rounds = if kind == CloseKind::PortReuse { 3 } else { 1 };
        let rounds = (0..rounds).map(|_| script::draw(kind, random));
        Self {
            kind,
            family,
            rounds: rounds.collect(),
            treatment: None,
        }
    }

    /// What its segments pass.
    pub fn wire(&self) -> Wire {
        match self.treatment {
            Some(_) => Wire::Queue,
            None => Wire::Bridge,
        }
    }
}

#[cfg(test)]
mod tests {
    use tcpclose_parity::segment::Endpoint;

    use super::*;
    use crate::steps::Action;

    #[test]
    fn a_seed_makes_one_workload() {
        assert_eq!(plans(7, 200, 0), plans(7, 200, 0));
        assert_ne!(plans(7, 200, 0), plans(8, 200, 0));
    }

    #[test]
    fn a_workload_has_all_kinds_and_as_many_closes_as_wanted() {
        let plans = plans(1, 2_000, 0);
        let closes: usize = plans.iter().map(|plan| plan.rounds.len()).sum();
        assert!((2_000..2_003).contains(&closes), "{closes}");
        for kind in CloseKind::ALL {
            assert!(plans.iter().any(|plan| plan.kind == kind), "{kind:?}");
        }
    }

    #[test]
    fn every_endpoint_is_closed_at_last() {
        for plan in plans(3, 500, 0) {
            for steps in &plan.rounds {
                let closed = |endpoint| {
                    steps
                        .iter()
                        .any(|it| it.endpoint == endpoint && it.action == Action::Close)
                };
                assert!(
                    closed(Endpoint::Client) && closed(Endpoint::Server),
                    "{plan:?}"
                );
            }
        }
    }
}
