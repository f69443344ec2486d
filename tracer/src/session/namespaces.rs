//! Ways into network namespaces, remembered.

use std::collections::HashMap;

use crate::kernel::netns::{self, NetNsHandle};
use crate::lifecycle::types::NetNs;

/// Namespaces remembered at most. Beyond that the memory starts anew, which costs a walk through /proc each.
pub(super) const REMEMBERED: usize = 4096;

pub(super) struct Namespaces {
    own: Option<NetNs>,
    handles: HashMap<NetNs, NetNsHandle>,
}

impl Namespaces {
    pub fn new() -> Self {
        Self {
            own: netns::current().ok(),
            handles: HashMap::new(),
        }
    }

    /// Whether the process lives in this one.
    pub fn is_own(&self, netns: NetNs) -> bool {
        self.own == Some(netns)
    }

    /// The way into one; `None` where it is not found.
    pub fn handle(&mut self, netns: NetNs) -> Option<&NetNsHandle> {
        if !self.handles.contains_key(&netns) {
            if self.handles.len() >= REMEMBERED {
                self.handles.clear();
            }
            self.handles.insert(netns, netns::by_inode(netns).ok()?);
        }
        self.handles.get(&netns)
    }

    /// The way into this one leads nowhere any more.
    pub fn forget(&mut self, netns: NetNs) {
        self.handles.remove(&netns);
    }

    /// Does `work` in a namespace; `None` where it cannot be entered.
    pub fn within<T: Send>(&mut self, netns: NetNs, work: impl FnOnce() -> T + Send) -> Option<T> {
        if self.is_own(netns) {
            return Some(work());
        }
        self.handle(netns)?.enter(work).ok()
    }
}
