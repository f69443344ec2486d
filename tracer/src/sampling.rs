//! Which single closes an agent passes on to its outputs where it samples them.
//!
//! The decision about a connection depends on its pair id alone, so both endpoints of a sampled
//! connection are kept, on every host with the same rate and key.

use std::hash::Hasher as _;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;
use strum::IntoStaticStr;

use tcpclose_core::finding::{Endpoint, Finding};

use crate::pair_id::{PairId, PairKey};
use crate::record::Record;

/// The share of connections whose records are kept, and the key by which they are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    rate: f64,
    /// Numbers below it are kept.
    limit: u64,
    key: PairKey,
}

/// Why a record was kept. The words are those of the JSON's `sample.kept_for`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum KeptFor {
    /// The pair id is in the sample, and with it the record of the other endpoint.
    Pair,
    /// The close is abnormal, and its pair id is not in the sample or not known.
    Abnormal,
    /// There is no pair id, and a hash of the endpoint is in the sample.
    NoPair,
    /// Records of this kind are always kept.
    Always,
}

impl Sampling {
    /// Returns how to sample at this rate, between 0 and 1; `None` where all records are kept.
    #[must_use]
    pub fn new(rate: f64, key: PairKey) -> Option<Self> {
        // The conversion saturates.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a fraction of 2^64 is a u64"
        )]
        #[expect(clippy::cast_sign_loss, reason = "a rate is positive")]
        let limit = (rate * 2.0_f64.powi(64)) as u64;
        (rate < 1.0).then_some(Self { rate, limit, key })
    }

    /// Returns the share of connections that are kept.
    #[must_use]
    pub const fn rate(&self) -> f64 {
        self.rate
    }

    /// Returns why a record is kept; `None` if it is not.
    #[must_use]
    pub fn decide(&self, record: &Record) -> Option<KeptFor> {
        match record {
            Record::Finding(finding) => self.decide_finding(finding),
            Record::Summary(_) | Record::Rollup(_) => Some(KeptFor::Always),
        }
    }

    /// Returns why a finding is kept; `None` if it is not.
    #[must_use]
    pub fn decide_finding(&self, finding: &Finding) -> Option<KeptFor> {
        let (endpoint, is_abnormal) = match finding {
            Finding::Close(close) => (&close.endpoint, close.path.is_abnormal() == Some(true)),
            Finding::TimeWait(time_wait) => (&time_wait.endpoint, false),
            Finding::Stuck(_) | Finding::Loss(_) => return Some(KeptFor::Always),
        };
        let by_hash = match endpoint.initial {
            Some(initial) => (PairId::new(initial, self.key).number(), KeptFor::Pair),
            None => (self.hash_of(endpoint), KeptFor::NoPair),
        };
        match by_hash {
            (number, KeptFor::Pair) if number < self.limit => Some(KeptFor::Pair),
            _ if is_abnormal => Some(KeptFor::Abnormal),
            (number, why) => (number < self.limit).then_some(why),
        }
    }

    /// Returns a hash that the records of one endpoint have in common.
    fn hash_of(&self, endpoint: &Endpoint) -> u64 {
        let mut hasher = SipHasher24::new_with_key(self.key.bytes());
        hasher.write(&endpoint.id.0.to_le_bytes());
        for end in [endpoint.tuple.local(), endpoint.tuple.peer()] {
            match end.ip() {
                IpAddr::V4(address) => hasher.write(&address.octets()),
                IpAddr::V6(address) => hasher.write(&address.octets()),
            }
            hasher.write(&end.port().to_le_bytes());
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use tcpclose_core::finding::{
        Close, ClosePath, EndSource, InitialSequenceNumbers, Loss, LossLocation, TimeWait,
        TimeWaitEnd,
    };
    use tcpclose_core::types::{EndpointId, Nanos};

    use super::*;
    use crate::output::samples;

    fn close(id: u64, initial: Option<(u32, u32)>, path: ClosePath) -> Finding {
        let sample = samples::three_way();
        let endpoint = Endpoint {
            id: EndpointId(id),
            initial: initial.map(|(iss, irs)| InitialSequenceNumbers { iss, irs }),
            ..sample.endpoint
        };
        Finding::Close(Box::new(Close {
            endpoint,
            path,
            ..sample
        }))
    }

    fn sampling(rate: f64) -> Sampling {
        Sampling::new(rate, PairKey::default()).expect("it samples")
    }

    /// Numbers that look like those of the kernel.
    fn numbers(of: u32) -> (u32, u32) {
        (
            of.wrapping_mul(2_654_435_761),
            of.wrapping_mul(40_503) ^ 0x5555,
        )
    }

    #[test]
    fn both_endpoints_are_kept_or_none_and_their_share_is_the_rate() {
        let tenth = sampling(0.1);
        let mut kept = 0;
        for number in 0..20_000 {
            let (iss, irs) = numbers(number);
            let one = close(1, Some((iss, irs)), ClosePath::FourWay);
            let other = close(2, Some((irs, iss)), ClosePath::FourWay);
            let decision = tenth.decide_finding(&one);
            assert_eq!(decision, tenth.decide_finding(&other));
            if let Some(why) = decision {
                assert_eq!(why, KeptFor::Pair);
                kept += 1;
                // A host with a higher rate keeps the same ones, and more.
                assert_eq!(sampling(0.5).decide_finding(&one), Some(KeptFor::Pair));
            }
        }
        assert!((1_800..2_200).contains(&kept), "{kept}");
    }

    #[test]
    fn abnormal_closes_are_kept_and_those_of_the_sample_say_so() {
        let (none, all) = (sampling(1e-15), sampling(0.999_999_999));
        for path in [
            ClosePath::Reset,
            ClosePath::Timeout,
            ClosePath::Destroyed,
            ClosePath::ConnectFailed,
        ] {
            for initial in [Some((1, 2)), None] {
                let close = close(1, initial, path);
                assert_eq!(none.decide_finding(&close), Some(KeptFor::Abnormal));
            }
            let sampled = close(1, Some((1, 2)), path);
            assert_eq!(all.decide_finding(&sampled), Some(KeptFor::Pair));
        }
        // Nothing shows that it is abnormal.
        let unknown = close(1, Some((1, 2)), ClosePath::Unknown);
        assert_eq!(none.decide_finding(&unknown), None);
    }

    #[test]
    fn records_without_a_pair_id_are_kept_by_their_endpoint() {
        let tenth = sampling(0.1);
        let mut kept = 0;
        for id in 0..20_000 {
            let record = close(id, None, ClosePath::FourWay);
            let Finding::Close(close) = &record else {
                continue;
            };
            let time_wait = Finding::TimeWait(Box::new(TimeWait {
                at: Nanos(0),
                endpoint: close.endpoint.clone(),
                owner: None,
                entered: Nanos(0),
                dwell: Nanos(1),
                end: TimeWaitEnd::Expired,
                measured: EndSource::Timer,
                error: Nanos(0),
                restarts: 0,
            }));
            let decision = tenth.decide_finding(&record);
            assert_eq!(decision, tenth.decide_finding(&time_wait));
            if let Some(why) = decision {
                assert_eq!(why, KeptFor::NoPair);
                kept += 1;
            }
        }
        assert!((1_800..2_200).contains(&kept), "{kept}");
    }

    #[test]
    fn other_records_are_always_kept_and_a_rate_of_one_samples_nothing() {
        let loss = Finding::Loss(Loss {
            at: Nanos(0),
            lost: 1,
            location: LossLocation::Ring,
            repaired: false,
            duration: None,
        });
        assert_eq!(sampling(0.01).decide_finding(&loss), Some(KeptFor::Always));
        assert_eq!(Sampling::new(1.0, PairKey::default()), None);
    }
}
