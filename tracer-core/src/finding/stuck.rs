//! A connection end that stays in CLOSE_WAIT.

use super::Endpoint;
use crate::stuck::{Holder, Leak, OwnerProcess, OwnerUnknown, Resolution, StuckEvent};
use crate::types::{Nanos, SharedOwner};

/// A connection end that is stuck in CLOSE_WAIT, or is no longer: [`Leak::event`] says which.
#[derive(Clone, Debug, PartialEq)]
pub struct Stuck {
    /// When this was found out; of one that is resolved, when that happened.
    pub at: Nanos,
    /// Which end. Its lifetime is not known before it closes.
    pub endpoint: Endpoint,
    /// Since when, and why.
    pub leak: Leak,
    /// How it was resolved; `None` while it is not.
    pub end: Option<Resolution>,
    /// Whose it is, where that is known.
    pub owner: Option<SharedOwner>,
    /// Why it is not known whose it is.
    pub owner_unknown: Option<OwnerUnknown>,
    /// All processes that hold it, by their ids.
    pub holders: Vec<Holder>,
    /// What /proc told of the owner.
    pub leaker: Option<OwnerProcess>,
}

impl Stuck {
    /// It is stuck no longer.
    pub fn resolve(&mut self, at: Nanos, end: Resolution) {
        self.at = at;
        self.leak.event = StuckEvent::Resolved;
        self.end = Some(end);
        // What was to come of a process that is gone comes no more.
        if matches!(end, Resolution::ProcessExited | Resolution::Unknown)
            && let Some(leaker) = &mut self.leaker
        {
            leaker.forecast = None;
        }
    }

    /// The descriptors that its owner has of it.
    #[must_use]
    pub fn fds(&self) -> &[u32] {
        let pid = self.owner.as_ref().map(|owner| owner.pid);
        let held = self.holders.iter().find(|holder| Some(holder.pid) == pid);
        held.map_or(&[], |holder| &holder.fds)
    }
}
