//! Ways into network namespaces, remembered.

use std::collections::HashMap;

use super::netns::{self, NetNsError, NetNsHandle};
use super::sock_diag::{DiagError, DiagSocket};
use tcpclose_core::types::NetNs;

/// Namespaces remembered at most. Beyond that the memory starts anew, which costs a walk through /proc each.
pub const REMEMBERED: usize = 4096;

/// See the module.
#[derive(Debug)]
pub struct NetnsCache {
    own: Option<NetNs>,
    handles: HashMap<NetNs, NetNsHandle>,
}

impl Default for NetnsCache {
    fn default() -> Self {
        Self {
            own: netns::current().ok(),
            handles: HashMap::new(),
        }
    }
}

impl NetnsCache {
    /// Whether the process lives in this one.
    #[must_use]
    pub fn is_own(&self, netns: NetNs) -> bool {
        self.own == Some(netns)
    }

    fn handle(&mut self, netns: NetNs) -> Result<&NetNsHandle, NetNsError> {
        if !self.handles.contains_key(&netns) {
            let handle = netns::by_inode(netns)?;
            if self.handles.len() >= REMEMBERED {
                self.handles.clear();
            }
            self.handles.insert(netns, handle);
        }
        Ok(&self.handles[&netns])
    }

    /// Does `work` in a namespace; `None` where it cannot be entered.
    pub fn run_in<T: Send>(&mut self, netns: NetNs, work: impl FnOnce() -> T + Send) -> Option<T> {
        if self.is_own(netns) {
            return Some(work());
        }
        self.handle(netns).ok()?.enter(work).ok()
    }

    /// A client for a namespace. A way that leads nowhere any more is looked for anew.
    ///
    /// # Errors
    /// Those of [`DiagSocket::open_in`].
    pub fn open_diag(&mut self, netns: NetNs) -> Result<DiagSocket, DiagError> {
        if self.is_own(netns) {
            return DiagSocket::open();
        }
        if let Some(known) = self.handles.get(&netns)
            && let Ok(diag) = DiagSocket::open_in(known)
        {
            return Ok(diag);
        }
        self.handles.remove(&netns);
        DiagSocket::open_in(self.handle(netns)?)
    }
}
