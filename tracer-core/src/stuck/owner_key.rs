//! Whose stuck sockets are counted together.

use crate::process::ProcessKey;
use crate::types::{CgroupId, NetNs};

/// Whose stuck sockets are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OwnerKey {
    /// The process that holds them; of several the one that started first. Where a connection was
    /// not accepted, the one that holds the listening socket.
    Process(ProcessKey),
    /// No process is known to hold them. All have the same cgroup, namespace and user.
    Unowned {
        /// Id of their cgroup (v2), where that is known.
        cgroup: Option<CgroupId>,
        /// Their network namespace, where that is known.
        netns: Option<NetNs>,
        /// User id of the process that accepted or created them; `None` where they were not
        /// accepted.
        uid: Option<u32>,
    },
}
