//! What is exported at the end of an interval.

use std::sync::Arc;

use jiff::Timestamp;
use opentelemetry_proto::tonic::metrics::v1::{AggregationTemporality, Metric as Message};

use super::metrics::{self, Period};
use crate::cgroup_names::CgroupNames;
use crate::metrics::{MetricsSnapshot, SnapshotPair};
use crate::output::clock::WallClock;
use crate::output::sink::config::Temporality;
use crate::output::sink::last_accepted::{Accepted, LastAccepted};

/// Metrics to send at the end of an interval.
pub(super) struct Export {
    pub(super) messages: Vec<Message>,
    /// What to remember once the receiver has accepted them.
    pub(super) accepted: Accepted,
}

impl Export {
    /// Makes the metrics at the end of an interval.
    ///
    /// Cumulative counts start with the agent, so a receiver that has missed exports has missed no
    /// counts. Deltas start with the last export that was accepted, the first one with the
    /// interval.
    pub(super) fn new(
        interval: &SnapshotPair,
        temporality: Temporality,
        last: &LastAccepted,
        clock: &WallClock,
        cgroups: &mut dyn CgroupNames,
    ) -> Self {
        let SnapshotPair { before, now } = interval;
        let time_of = |snapshot: &MetricsSnapshot| clock.timestamp(snapshot.at);
        let (counted, start, temporality) = match temporality {
            Temporality::Cumulative => (now.clone(), now.start, AggregationTemporality::Cumulative),
            Temporality::Delta => {
                let Accepted { snapshot, at } = last.get().unwrap_or_else(|| Accepted {
                    snapshot: before.clone(),
                    at: time_of(before),
                });
                let since = Arc::new(now.since(&snapshot));
                (since, at, AggregationTemporality::Delta)
            }
        };
        let mut counted = MetricsSnapshot::clone(&counted);
        counted.look_up_locations(cgroups);
        // The wall clock may have been set back.
        let at = time_of(now).max(start);
        let period = Period {
            start: unix_nanos(start),
            end: unix_nanos(at),
        };
        let snapshot = now.clone();
        Self {
            messages: metrics::messages(&counted, period, temporality),
            accepted: Accepted { snapshot, at },
        }
    }
}

fn unix_nanos(at: Timestamp) -> u64 {
    u64::try_from(at.as_nanosecond()).unwrap_or_default()
}
