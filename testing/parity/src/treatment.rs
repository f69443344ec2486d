//! What the queue does to the segments of one connection.

use std::time::Duration;

use tcpclose_parity::segment::Endpoint;

use crate::packet::Tcp;
use crate::random::Random;

/// Which segments a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// SYN, also with ACK.
    Syn,
    /// With data, without FIN.
    Data,
    /// No other flag, and no data.
    Ack,
    /// FIN, with data or without.
    Fin,
    /// RST.
    Rst,
}

impl Which {
    fn matches(self, segment: &Tcp) -> bool {
        let flags = segment.flags;
        let data = segment.len > 0;
        match self {
            Self::Syn => flags.syn,
            Self::Rst => flags.rst,
            Self::Fin => flags.fin,
            Self::Data => data && !flags.fin,
            Self::Ack => !data && !flags.syn && !flags.fin && !flags.rst,
        }
    }
}

/// What happens to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It arrives so much later than it would.
    Hold(Duration),
    /// It is lost, and the sender gets an ICMP error with this code.
    Refuse(u8),
    /// It arrives, and the sender gets an ICMP error with this code all the same.
    Complain(u8),
}

/// What happens to certain segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Who sends them.
    pub from: Endpoint,
    /// Which they are.
    pub which: Which,
    /// So many of them come through first.
    pub after: u32,
    /// To how many it happens then.
    pub times: u32,
    /// What happens.
    pub effect: Effect,
}

/// What happens to the segments of one connection, or of several with the same server's port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Treatment {
    /// How long all segments of the client and of the server take.
    pub delay: [Duration; 2],
    /// How many segments take longer, in percent.
    pub shaken: u64,
    /// How much longer at most.
    pub shaken_by: Duration,
    /// How many FINs and ACKs without data get lost, in percent.
    pub lost: u64,
    /// Rules; the first that fits a segment applies.
    pub rules: Vec<Rule>,
}

impl Treatment {
    /// A wire as real programs may have it between them.
    pub fn of_programs() -> Self {
        Self {
            delay: [Duration::from_millis(2); 2],
            shaken: 10,
            shaken_by: Duration::from_millis(5),
            ..Self::default()
        }
    }
}

/// A treatment at work.
#[derive(Clone, Debug)]
pub struct Treating {
    treatment: Treatment,
    /// One for each side, so that the order in which they send does not matter.
    random: [Random; 2],
    /// How many segments have met each rule.
    met: Vec<u32>,
}

/// Where a segment goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// It arrives after so long; `None` where it gets lost.
    pub arrives: Option<Duration>,
    /// The code of the ICMP error that its sender gets.
    pub icmp: Option<u8>,
}

impl Treating {
    /// Begins. The same seed and number decide alike.
    pub fn new(treatment: Treatment, seed: u64, number: u64) -> Self {
        let random = |side: u64| Random::new(seed.wrapping_add(1 + side), number);
        Self {
            met: vec![0; treatment.rules.len()],
            random: [random(0), random(1)],
            treatment,
        }
    }

    /// Decides over the next segment.
    pub fn decide(&mut self, from: Endpoint, segment: &Tcp) -> Decision {
        let Treatment {
            delay,
            shaken,
            shaken_by,
            lost,
            rules,
        } = &self.treatment;
        let side = usize::from(from == Endpoint::Server);
        let random = &mut self.random[side];
        let mut arrives = delay[side];
        if random.chance(*shaken) {
            arrives += Duration::from_micros(random.below(shaken_by.as_micros() as u64 + 1));
        }
        let can_get_lost = Which::Fin.matches(segment) || Which::Ack.matches(segment);
        if random.chance(*lost) && can_get_lost {
            return Decision::default();
        }
        let mut decision = Decision {
            arrives: Some(arrives),
            icmp: None,
        };
        for (rule, met) in rules.iter().zip(&mut self.met) {
            if rule.from != from || !rule.which.matches(segment) {
                continue;
            }
            *met += 1;
            if *met <= rule.after || *met > rule.after + rule.times {
                continue;
            }
            match rule.effect {
                Effect::Hold(longer) => decision.arrives = Some(arrives + longer),
                Effect::Refuse(code) => {
                    decision = Decision {
                        arrives: None,
                        icmp: Some(code),
                    };
                }
                Effect::Complain(code) => decision.icmp = Some(code),
            }
            break;
        }
        decision
    }
}

#[cfg(test)]
mod tests {
    use tcpclose_parity::segment::Flags;

    use super::*;

    const FIN: Tcp = Tcp {
        source: 1,
        destination: 2,
        flags: Flags {
            syn: false,
            ack: true,
            fin: true,
            rst: false,
        },
        len: 0,
    };

    #[test]
    fn a_rule_is_about_one_side_and_so_many_segments() {
        let held = Duration::from_millis(5);
        let treatment = Treatment {
            rules: vec![Rule {
                from: Endpoint::Client,
                which: Which::Fin,
                after: 1,
                times: 1,
                effect: Effect::Hold(held),
            }],
            ..Treatment::default()
        };
        let mut treating = Treating::new(treatment, 1, 1);
        let mut arrives = |from| treating.decide(from, &FIN).arrives;
        assert_eq!(arrives(Endpoint::Client), Some(Duration::ZERO));
        assert_eq!(arrives(Endpoint::Server), Some(Duration::ZERO));
        assert_eq!(arrives(Endpoint::Client), Some(held));
        assert_eq!(arrives(Endpoint::Client), Some(Duration::ZERO));
    }

    #[test]
    fn one_side_is_treated_alike_whatever_the_other_sends() {
        let treatment = Treatment {
            shaken: 50,
            shaken_by: Duration::from_millis(10),
            ..Treatment::default()
        };
        let mut alone = Treating::new(treatment, 1, 1);
        let mut beside = alone.clone();
        for _ in 0..50 {
            beside.decide(Endpoint::Server, &FIN);
            let expected = alone.decide(Endpoint::Client, &FIN);
            assert_eq!(beside.decide(Endpoint::Client, &FIN), expected);
        }
    }

    #[test]
    fn data_is_never_lost_by_chance() {
        let treatment = Treatment {
            lost: 100,
            ..Treatment::default()
        };
        let mut treating = Treating::new(treatment, 1, 1);
        let data = Tcp {
            flags: Flags {
                fin: false,
                ..FIN.flags
            },
            len: 5,
            ..FIN
        };
        assert_eq!(treating.decide(Endpoint::Client, &FIN).arrives, None);
        let arrives = treating.decide(Endpoint::Client, &data).arrives;
        assert_eq!(arrives, Some(Duration::ZERO));
    }
}
