//! Remembers how network namespaces are entered: finding one takes a scan of /proc.

use std::collections::HashMap;

use super::clock;
use super::netns::{self, NetNsError, NetNsHandle};
use super::sock_diag::{DiagClient, DiagError};
use crate::absent_keys::AbsentKeys;
use tcpclose_core::types::{Nanos, NetNs};

/// The most namespaces that are remembered. Beyond that the cache starts anew.
pub const MAX_CACHED_NAMESPACES: usize = 4096;

/// How long a namespace that was not found, or could not be entered, is not searched for again.
const ABSENT_RETRY_INTERVAL: Nanos = Nanos::from_secs(10);

/// Enters network namespaces by their numbers.
#[derive(Debug)]
pub struct NetNsCache {
    own: Option<NetNs>,
    handles: HashMap<NetNs, NetNsHandle>,
    /// Namespaces that were not found or could not be entered.
    absent: AbsentKeys<NetNs>,
    /// Finds network namespaces of the host, the given one among them if it can.
    scan: fn(NetNs) -> Vec<NetNsHandle>,
}

impl Default for NetNsCache {
    fn default() -> Self {
        Self {
            own: netns::current().ok(),
            handles: HashMap::new(),
            absent: AbsentKeys::new(ABSENT_RETRY_INTERVAL, MAX_CACHED_NAMESPACES),
            scan: |_| netns::scan().namespaces,
        }
    }
}

impl NetNsCache {
    /// Returns a cache that also finds namespaces which only a descriptor keeps alive
    /// ([`netns::find_by_descriptors`]). A search for one that is gone then reads all descriptors
    /// of the host.
    #[must_use]
    pub fn with_namespaces_by_descriptor() -> Self {
        Self {
            scan: netns::scan_for,
            ..Self::default()
        }
    }

    /// Returns whether this is the network namespace of the process.
    #[must_use]
    pub fn is_own(&self, netns: NetNs) -> bool {
        self.own == Some(netns)
    }

    /// Calls `work` inside a network namespace and returns its result.
    ///
    /// # Errors
    /// `work` was not called: nothing leads to the namespace, or it may not be entered.
    pub fn run_in<T: Send>(
        &mut self,
        netns: NetNs,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, NetNsError> {
        if self.is_own(netns) {
            return Ok(work());
        }
        let mut work = Some(work);
        self.enter(netns, clock::now(), |handle| {
            handle.enter(|| {
                work.take()
                    .expect("it is called where the namespace was entered")()
            })
        })
    }

    /// Opens a client of sock_diag for a network namespace.
    ///
    /// # Errors
    /// Those of [`DiagClient::open_in`].
    pub fn open_diag(&mut self, netns: NetNs) -> Result<DiagClient, DiagError> {
        if self.is_own(netns) {
            return DiagClient::open();
        }
        self.enter(netns, clock::now(), |handle| {
            match DiagClient::open_in(handle) {
                Err(DiagError::Namespace(error)) => Err(error),
                opened => Ok(opened),
            }
        })?
    }

    /// Calls `enter` with the handle that is remembered for a namespace. Where that leads nowhere
    /// any more (a process has exited, and others live on in its namespace), the namespace is
    /// searched for once.
    fn enter<T>(
        &mut self,
        netns: NetNs,
        now: Nanos,
        mut enter: impl FnMut(&NetNsHandle) -> Result<T, NetNsError>,
    ) -> Result<T, NetNsError> {
        if let Some(known) = self.handles.get(&netns)
            && let Ok(result) = enter(known)
        {
            return Ok(result);
        }
        self.handles.remove(&netns);
        if self.absent.contains(&netns, now) {
            return Err(NetNsError::NotFound(netns));
        }
        self.scan_and_cache(netns);
        let entered = match self.handles.get(&netns) {
            Some(found) => enter(found),
            None => Err(NetNsError::NotFound(netns)),
        };
        entered.inspect_err(|_| {
            self.handles.remove(&netns);
            self.absent.insert(netns, now);
        })
    }

    /// Remembers all namespaces that a scan finds, so that a host with many of them takes one scan.
    fn scan_and_cache(&mut self, wanted: NetNs) {
        let mut found = (self.scan)(wanted);
        if self.handles.len() + found.len() > MAX_CACHED_NAMESPACES {
            self.handles.clear();
            found.sort_by_key(|handle| handle.id() != wanted);
            found.truncate(MAX_CACHED_NAMESPACES);
        }
        let found = found.into_iter().map(|handle| (handle.id(), handle));
        self.handles.extend(found);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How often this test has scanned for namespaces, and how many there are, numbered from 1.
        static SCANS: Cell<u32> = const { Cell::new(0) };
        static EXISTING: Cell<u32> = const { Cell::new(0) };
    }

    fn id(number: u32) -> NetNs {
        NetNs::new(number).expect("it is not 0")
    }

    fn cache() -> NetNsCache {
        NetNsCache {
            own: None,
            scan: |_| {
                SCANS.set(SCANS.get() + 1);
                let numbers = 1..=EXISTING.get();
                numbers.map(|number| NetNsHandle::new(id(number))).collect()
            },
            ..NetNsCache::default()
        }
    }

    fn enter(cache: &mut NetNsCache, number: u32, at: u64) -> Option<NetNs> {
        let entered = cache.enter(id(number), Nanos::from_secs(at), |handle| Ok(handle.id()));
        entered.ok()
    }

    #[test]
    fn one_scan_finds_all_namespaces() {
        EXISTING.set(3);
        let mut cache = cache();
        for number in [2, 3, 1, 2] {
            assert_eq!(enter(&mut cache, number, 100), Some(id(number)));
        }
        assert_eq!(SCANS.get(), 1);
    }

    #[test]
    fn an_absent_namespace_is_searched_again_only_after_an_interval() {
        let mut cache = cache();
        for at in 100..110 {
            assert_eq!(enter(&mut cache, 7, at), None);
        }
        assert_eq!(SCANS.get(), 1);
        EXISTING.set(7);
        assert_eq!(enter(&mut cache, 7, 110), Some(id(7)));
        assert_eq!(SCANS.get(), 2);
    }

    #[test]
    fn a_namespace_that_cannot_be_entered_is_retried_once_per_interval() {
        EXISTING.set(1);
        let mut cache = cache();
        assert_eq!(enter(&mut cache, 1, 100), Some(id(1)));
        for at in 100..110 {
            let refused = cache.enter(id(1), Nanos::from_secs(at), |handle| {
                Err::<(), _>(NetNsError::NotPermitted(handle.id()))
            });
            assert!(refused.is_err());
        }
        assert_eq!(SCANS.get(), 2);
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_the_requested_namespace() {
        let most = MAX_CACHED_NAMESPACES as u32;
        EXISTING.set(2 * most);
        let mut cache = cache();
        assert_eq!(enter(&mut cache, 2 * most, 100), Some(id(2 * most)));
        assert_eq!(cache.handles.len(), MAX_CACHED_NAMESPACES);
        EXISTING.set(0);
        for number in 0..most + 5 {
            assert_eq!(enter(&mut cache, 3 * most + number, 100), None);
        }
        assert!(cache.absent.len() <= MAX_CACHED_NAMESPACES);
    }
}
