//! The names in the directories in which the kubelet keeps the logs of containers. They are the
//! same for every runtime.
//!
//! `/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log` are the logs (`BuildPodLogsDirectory` in the
//! kubelet's kuberuntime/helpers.go), `/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log` the
//! links to them (`legacyLogSymlink` in kuberuntime/legacy.go). None of these names has `_` in a
//! part of it. Only the names are read, never a log, and no link is followed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::host_root::HostRoot;
use super::runtimes::cut;
use tcpclose_core::container_filter::is_hash_id;
use tcpclose_core::process::{ContainerNames, PodName};

const LINKS_DIR: &str = "var/log/containers";
const PODS_DIR: &str = "var/log/pods";

/// The most entries of a directory that are read. A node has at most some hundred pods.
const MAX_ENTRIES: usize = 16_384;

/// How long a list of names is used for what it does not have.
const MAX_LIST_AGE: Duration = Duration::from_secs(1);

/// The names that both directories had when they were last read.
#[derive(Debug, Default)]
pub(super) struct Kubelet {
    containers: HashMap<String, ContainerNames>,
    containers_read: Option<Instant>,
    pods: HashMap<String, PodName>,
    pods_read: Option<Instant>,
}

impl Kubelet {
    /// Returns the names of the container with this full id.
    pub(super) fn container(
        &mut self,
        root: &HostRoot,
        id: &str,
        now: Instant,
    ) -> Option<ContainerNames> {
        if !self.containers.contains_key(id) && is_due(&mut self.containers_read, now) {
            self.containers.clear();
            root.list(LINKS_DIR, MAX_ENTRIES, |link| {
                self.containers.extend(container_of_link(link));
            });
        }
        self.containers.get(id).cloned()
    }

    /// Returns the names of the pod with this UID.
    pub(super) fn pod(&mut self, root: &HostRoot, uid: &str, now: Instant) -> Option<PodName> {
        if !self.pods.contains_key(uid) && is_due(&mut self.pods_read, now) {
            self.pods.clear();
            root.list(PODS_DIR, MAX_ENTRIES, |name| {
                self.pods.extend(pod_of_directory(name));
            });
        }
        self.pods.get(uid).cloned()
    }
}

fn is_due(read: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = read.is_none_or(|last| now.saturating_duration_since(last) >= MAX_LIST_AGE);
    if is_due {
        *read = Some(now);
    }
    is_due
}

/// Returns id and names of a link's container. The kubelet cuts the names of links to 255 bytes,
/// from the end: such a one has no whole id, and is left out.
pub(crate) fn container_of_link(link: &str) -> Option<(String, ContainerNames)> {
    let (front, id) = link.strip_suffix(".log")?.rsplit_once('-')?;
    let [pod, namespace, container] = three_parts(front).filter(|_| is_hash_id(id))?;
    let names = ContainerNames {
        container: Some(cut(container)),
        pod: Some(PodName {
            namespace: cut(namespace),
            name: cut(pod),
        }),
    };
    Some((id.to_owned(), names))
}

/// Returns UID and names of a directory's pod.
pub(crate) fn pod_of_directory(name: &str) -> Option<(String, PodName)> {
    let [namespace, pod, uid] = three_parts(name)?;
    let names = PodName {
        namespace: cut(namespace),
        name: cut(pod),
    };
    Some((uid.to_owned(), names))
}

fn three_parts(name: &str) -> Option<[&str; 3]> {
    let mut parts = name.split('_');
    let three = [parts.next()?, parts.next()?, parts.next()?];
    (parts.next().is_none() && three.iter().all(|part| !part.is_empty())).then_some(three)
}
