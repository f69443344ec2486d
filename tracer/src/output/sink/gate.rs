//! The part of an output's filter that needs the names of containers. These are in files, so the
//! output's own thread applies it, and with it the rate limit: only what is wanted counts there.

use std::fmt;
use std::time::Instant;

use super::kind;
use super::token_bucket::TokenBucket;
use crate::cgroup_names::CgroupNames;
use crate::filter::containers;
use crate::record::Record;
use tcpclose_core::container_filter::ContainerFilter;
use tcpclose_sys::host::cgroup::Cgroups;

/// What becomes of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is delivered.
    Deliver,
    /// It does not pass the filter.
    Filter,
    /// It is over the rate limit.
    RateLimited,
}

/// Decides about the records in an output's queue.
pub(super) struct Gate {
    filter: ContainerFilter,
    bucket: Option<TokenBucket>,
    /// `None` until the first record comes: looking for the cgroups' file system reads files, too.
    cgroups: Option<Box<dyn CgroupNames>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

impl Gate {
    /// Returns a gate for this host's containers; `None` where the filter lets all of them pass.
    pub(super) fn new(filter: &ContainerFilter, bucket: Option<TokenBucket>) -> Option<Self> {
        (!filter.is_all()).then(|| Self {
            filter: filter.clone(),
            bucket,
            cgroups: None,
        })
    }

    /// Decides about a record.
    pub(super) fn decide(&mut self, record: &Record) -> Decision {
        let cgroups = self
            .cgroups
            .get_or_insert_with(|| Box::new(Cgroups::new()))
            .as_mut();
        let passes = match record {
            Record::Finding(finding) => containers::passes(&self.filter, finding, cgroups),
            Record::Summary(_) | Record::Rollup(_) => true,
        };
        if !passes {
            return Decision::Filter;
        }
        let has_token = match &mut self.bucket {
            Some(bucket) if kind::is_limited(record) => bucket.take(Instant::now()),
            _ => true,
        };
        if has_token {
            Decision::Deliver
        } else {
            Decision::RateLimited
        }
    }

    /// Takes the names of cgroups from elsewhere than this host.
    #[cfg(test)]
    pub(super) fn with_cgroups(mut self, cgroups: Box<dyn CgroupNames>) -> Self {
        self.cgroups = Some(cgroups);
        self
    }
}
