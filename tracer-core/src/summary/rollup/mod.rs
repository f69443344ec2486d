//! The closes of an interval by service: what stays exact where outputs get only a sample of the
//! single closes.

#[cfg(test)]
mod tests;

use std::ops::AddAssign;

use foldhash::HashMap;

use super::Counts;
use super::service::ServiceAddress;
use crate::finding::{Cause, Close, ClosePath, Finding, Initiator};
use crate::types::{Nanos, NetNs};

/// The most services of one interval. Beyond it, those with the fewest closes are counted together.
pub const MAX_SERVICES: usize = 1_024;

/// Counts the closes of an interval by service. Bounded; every close is counted once.
#[derive(Debug)]
pub struct Rollups {
    from: Nanos,
    services: HashMap<ServiceInNetns, RollupCounts>,
    /// The closes of all other services, and of connections whose role is not known.
    others: RollupCounts,
    exact: bool,
}

/// A service, as one network namespace sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceInNetns {
    /// The network namespace.
    pub netns: Option<NetNs>,
    /// What its connections have in common.
    pub service: ServiceAddress,
}

/// The closes of one service in an interval, or of all others together.
#[derive(Clone, Debug)]
pub struct Rollup {
    /// The beginning of the interval.
    pub from: Nanos,
    /// The end of the interval.
    pub to: Nanos,
    /// The service; `None` for all others.
    pub service: Option<ServiceInNetns>,
    /// What was counted.
    pub counts: RollupCounts,
    /// No service had to make room in this interval. If not, counts of services may be too low, and
    /// what they lack is in that of all others.
    pub exact: bool,
}

/// What is counted of closes.
#[derive(Clone, Debug, Default)]
pub struct RollupCounts {
    /// The closes, by path and by who closed first.
    pub closes: Counts<(ClosePath, Initiator)>,
    /// The abnormal closes among them, by their cause, where that is known.
    pub causes: Counts<Option<Cause>>,
    /// How long connections were open.
    pub lifetime: Sum,
    /// The data sent, in bytes.
    pub bytes_sent: Sum,
    /// The data received, in bytes.
    pub bytes_received: Sum,
}

/// The sum of values that are not known of every close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Of how many closes the value is known.
    pub count: u64,
    /// The sum of these values; of times, in nanoseconds.
    pub sum: u128,
}

impl Sum {
    fn add(&mut self, value: Option<u64>) {
        if let Some(value) = value {
            self.count += 1;
            self.sum += u128::from(value);
        }
    }
}

impl AddAssign for Sum {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.sum += other.sum;
    }
}

impl RollupCounts {
    fn record(&mut self, close: &Close) {
        self.closes.add((close.path, close.initiator), 1);
        if close.path.is_abnormal() == Some(true) {
            self.causes.add(close.cause, 1);
        }
        self.lifetime
            .add(close.endpoint.lifetime.map(|time| time.0));
        self.bytes_sent.add(close.bytes.sent);
        self.bytes_received.add(close.bytes.received);
    }
}

impl AddAssign<&Self> for RollupCounts {
    fn add_assign(&mut self, other: &Self) {
        self.closes += &other.closes;
        self.causes += &other.causes;
        self.lifetime += other.lifetime;
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }
}

impl Rollups {
    /// Begins the first interval.
    #[must_use]
    pub fn new(at: Nanos) -> Self {
        Self {
            from: at,
            services: HashMap::default(),
            others: RollupCounts::default(),
            exact: true,
        }
    }

    /// Counts a close; other findings, and those of the self-test, are left out.
    pub fn record(&mut self, finding: &Finding) {
        let Finding::Close(close) = finding else {
            return;
        };
        if finding.is_self_test() {
            return;
        }
        let Some(service) = ServiceAddress::from_endpoint(&close.endpoint) else {
            self.others.record(close);
            return;
        };
        let netns = close.endpoint.netns;
        let service = ServiceInNetns { netns, service };
        if self.services.len() >= MAX_SERVICES && !self.services.contains_key(&service) {
            self.make_room();
        }
        self.services.entry(service).or_default().record(close);
    }

    /// Counts the half of the services with the fewest closes together.
    fn make_room(&mut self) {
        self.exact = false;
        let mut sizes: Vec<_> = self
            .services
            .iter()
            .map(|(service, counts)| (counts.closes.total(), *service))
            .collect();
        sizes.sort_unstable();
        for (_, service) in &sizes[..sizes.len() / 2] {
            if let Some(counts) = self.services.remove(service) {
                self.others += &counts;
            }
        }
    }

    /// Ends the interval, and begins the next. Returns the services with closes, in a fixed order,
    /// and then all others if they had any.
    pub fn end_interval(&mut self, at: Nanos) -> Vec<Rollup> {
        let Self {
            from,
            services,
            others,
            exact,
        } = std::mem::replace(self, Self::new(at));
        let rollup = |service, counts| Rollup {
            from,
            to: at,
            service,
            counts,
            exact,
        };
        let mut services: Vec<_> = services.into_iter().collect();
        services.sort_unstable_by_key(|(service, _)| *service);
        let services = services.into_iter();
        let mut rollups: Vec<_> = services
            .map(|(service, counts)| rollup(Some(service), counts))
            .collect();
        if others.closes.total() > 0 {
            rollups.push(rollup(None, others));
        }
        rollups
    }
}
