//! Remembers names, so that files are read once for each container.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::host_root::HostRoot;
use super::kubelet::Kubelet;
use super::runtimes;
use tcpclose_core::process::{Container, ContainerNames};

/// The most containers that are remembered, with and without names. Beyond that, the quarter is
/// forgotten that was requested least recently.
const MAX_CONTAINERS: usize = 4096;

/// The time before a container without a name is searched again. A runtime writes its
/// files before it starts the container, but the kubelet links the log after that.
const MIN_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// The longest such time; each is twice the one before.
const MAX_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// What identifies a container: runtime, id, and the UID of the pod.
type ContainerKey = (&'static str, String, Option<String>);

/// The names of containers, read from the files of a host.
#[derive(Debug)]
pub(super) struct NameCache {
    roots: Vec<(HostRoot, Kubelet)>,
    known: HashMap<ContainerKey, CachedNames>,
    /// Counts the requests.
    requests: u64,
}

#[derive(Debug)]
struct CachedNames {
    names: Option<Arc<ContainerNames>>,
    /// The number of the last request.
    last_request: u64,
    retry: Instant,
    pause: Duration,
}

impl NameCache {
    pub(super) fn for_host() -> Self {
        Self::new(HostRoot::all())
    }

    pub(super) fn new(roots: Vec<HostRoot>) -> Self {
        let roots = roots.into_iter();
        Self {
            roots: roots.map(|root| (root, Kubelet::default())).collect(),
            known: HashMap::new(),
            requests: 0,
        }
    }

    pub(super) fn names(&mut self, container: &Container) -> Option<Arc<ContainerNames>> {
        self.names_at(container, Instant::now())
    }

    /// Returns the names as [`Self::names`] does, at the time `now`.
    pub(super) fn names_at(
        &mut self,
        container: &Container,
        now: Instant,
    ) -> Option<Arc<ContainerNames>> {
        self.requests += 1;
        let last_request = self.requests;
        let Container {
            runtime, id, pod, ..
        } = container;
        let key = (*runtime, id.clone(), pod.clone());
        let mut pause = MIN_RETRY_INTERVAL;
        if let Some(known) = self.known.get_mut(&key) {
            known.last_request = last_request;
            if known.names.as_ref().is_some_and(is_complete) || now < known.retry {
                return known.names.clone();
            }
            pause = (known.pause * 2).min(MAX_RETRY_INTERVAL);
        }
        let names = self.read(container, now).map(Arc::new);
        if self.known.len() >= MAX_CONTAINERS && !self.known.contains_key(&key) {
            self.evict();
        }
        let known = CachedNames {
            names: names.clone(),
            last_request,
            retry: now + pause,
            pause,
        };
        self.known.insert(key, known);
        names
    }

    /// Reads the files of one host after the other until one has the names.
    fn read(&mut self, container: &Container, now: Instant) -> Option<ContainerNames> {
        let mut names = ContainerNames::default();
        for (root, kubelet) in &mut self.roots {
            if let Some(found) = kubelet.container(root, &container.id, now) {
                return Some(found);
            }
            let found = runtimes::find(root, container).unwrap_or_default();
            names.container = names.container.or(found.container);
            names.pod = names.pod.or(found.pod);
            if names.pod.is_none()
                && let Some(uid) = &container.pod
            {
                names.pod = kubelet.pod(root, uid, now);
            }
        }
        (names != ContainerNames::default()).then_some(names)
    }

    fn evict(&mut self) {
        let mut last_request: Vec<u64> = self
            .known
            .values()
            .map(|known| known.last_request)
            .collect();
        let (_, &mut oldest_kept, _) = last_request.select_nth_unstable(MAX_CONTAINERS / 4);
        self.known
            .retain(|_, known| known.last_request >= oldest_kept);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// Returns whether there is nothing left to find.
pub(super) fn is_complete(names: &Arc<ContainerNames>) -> bool {
    names.container.is_some()
}
