//! A restart whose endpoints are still being looked for.

use std::collections::HashSet;

use tcpclose_core::types::{Nanos, NetNs};
use tcpclose_core::{Input, RestoreEnd};

/// What an earlier session has saved, until all sockets were looked at.
pub(super) struct PendingRestart {
    /// Until when it had taken all records.
    pub until: Nanos,
    /// Whether it has saved all live endpoints.
    pub is_complete: bool,
}

impl PendingRestart {
    /// Returns the input that ends it. `from`: from when on this session has records; `searched`:
    /// the namespaces whose sockets were all read, and whether these are all.
    pub fn end(&self, at: Nanos, from: Nanos, searched: (HashSet<NetNs>, bool)) -> Input {
        let (searched, searched_all) = searched;
        Input::RestoreEnd(RestoreEnd {
            at,
            until: self.until,
            from,
            is_complete: self.is_complete,
            searched,
            searched_all,
        })
    }
}
