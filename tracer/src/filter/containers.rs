//! The part of the filter that concerns the container of a process. Containers' names are in files,
//! so it is applied where findings are written, not where events are read.

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::cgroup_names::CgroupNames;
use tcpclose_core::container_filter::ContainerFilter;
use tcpclose_core::event::Transition;
use tcpclose_core::finding::{Close, Finding};
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::types::{CgroupId, SharedOwner};

/// The inode numbers of network namespaces begin here (`PROC_DYNAMIC_FIRST` in
/// fs/proc/generic.c).
const NETWORK_NAMESPACES: RangeInclusive<u64> = 0xf000_0000..=0xffff_ffff;

/// The longest label in DNS, which a Kubernetes namespace's name is.
const MAX_LABEL_LEN: usize = 63;

/// Returns whether a finding passes. Those about no connection always do.
pub(crate) fn passes(
    filter: &ContainerFilter,
    finding: &Finding,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    match finding {
        _ if filter.is_all() => true,
        Finding::Close(close) => passes_close(filter, close, cgroups),
        Finding::TimeWait(time_wait) => is_in(filter, cgroup(time_wait.owner.as_ref()), cgroups),
        Finding::Stuck(stuck) => passes_stuck(filter, stuck, cgroups),
        Finding::Loss(_) => true,
    }
}

/// Returns whether a close passes, by the process that it belongs to.
pub(crate) fn passes_close(
    filter: &ContainerFilter,
    close: &Close,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    passes_owner(filter, close.owner.as_ref(), cgroups)
}

/// Returns whether what belongs to this process passes.
pub(crate) fn passes_owner(
    filter: &ContainerFilter,
    owner: Option<&SharedOwner>,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    is_in(filter, cgroup(owner), cgroups)
}

/// Returns whether a stuck socket passes: by the process that it belongs to, or by the cgroup that
/// the kernel has for it where that process is not known.
pub(crate) fn passes_stuck(
    filter: &ContainerFilter,
    stuck: &StuckSocket,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    if let Some(owner) = &stuck.process {
        return filter.matches(owner.process.container.as_ref());
    }
    let cgroup = cgroup(stuck.owner.as_ref()).or(stuck.socket.cgroup);
    is_in(filter, cgroup, cgroups)
}

/// Returns whether a transition passes, by the process that caused it.
pub(crate) fn passes_transition(
    filter: &ContainerFilter,
    transition: &Transition,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    let task = transition.task.as_ref();
    is_in(filter, task.and_then(|task| task.cgroup), cgroups)
}

fn cgroup(owner: Option<&SharedOwner>) -> Option<CgroupId> {
    owner?.cgroup
}

fn is_in(
    filter: &ContainerFilter,
    cgroup: Option<CgroupId>,
    cgroups: &mut dyn CgroupNames,
) -> bool {
    if filter.is_all() {
        return true;
    }
    let name = cgroup.and_then(|id| cgroups.name(id.get()));
    filter.matches(name.and_then(|name| name.container.as_ref()))
}

/// Why a text is not the name of a Kubernetes namespace.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum NotAKubernetesNamespace {
    #[error("this is a network namespace, not one of Kubernetes: use netns")]
    Network,
    #[error(
        "no Kubernetes namespace is called {0:?}: their names have 1 to 63 lower-case letters, \
         digits and dashes"
    )]
    NoLabel(String),
}

/// Reads the name of a Kubernetes namespace. Refuses what can only be a network namespace: such a
/// filter would silently match nothing.
pub(crate) fn kubernetes_namespace(words: &str) -> Result<String, NotAKubernetesNamespace> {
    let number: Option<u64> = words.parse().ok();
    if words.contains('/') || number.is_some_and(|number| NETWORK_NAMESPACES.contains(&number)) {
        return Err(NotAKubernetesNamespace::Network);
    }
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = (1..=MAX_LABEL_LEN).contains(&words.len())
        && words.bytes().all(is_inner)
        && !words.starts_with('-')
        && !words.ends_with('-');
    if !is_label {
        return Err(NotAKubernetesNamespace::NoLabel(words.to_owned()));
    }
    Ok(words.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::output::samples::{self, OneCgroup};
    use tcpclose_core::process::{Container, ContainerNames, PodName, Process};
    use tcpclose_core::types::CgroupId;

    fn shop_filter() -> ContainerFilter {
        ContainerFilter {
            namespaces: ["shop".to_owned()].into(),
            ..ContainerFilter::default()
        }
    }

    fn container(namespace: &str) -> Container {
        Container {
            runtime: "containerd",
            id: "0123abcd".to_owned(),
            pod: None,
            names: Some(Arc::new(ContainerNames {
                container: Some("nginx".to_owned()),
                pod: Some(PodName {
                    namespace: namespace.to_owned(),
                    name: "web-0".to_owned(),
                }),
            })),
        }
    }

    fn cgroup(namespace: &str) -> OneCgroup {
        OneCgroup::new("/kubepods/x", Some(container(namespace)))
    }

    #[test]
    fn a_close_passes_by_the_container_of_its_owner() {
        let close = Finding::Close(Box::new(samples::three_way()));
        assert!(passes(&shop_filter(), &close, &mut cgroup("shop")));
        assert!(!passes(&shop_filter(), &close, &mut cgroup("default")));
        let mut outside = OneCgroup::new("/system.slice/x.service", None);
        assert!(!passes(&shop_filter(), &close, &mut outside));
        let unknown = Finding::Close(Box::new(samples::unknown()));
        assert!(!passes(&shop_filter(), &unknown, &mut cgroup("shop")));
        let all = ContainerFilter::default();
        assert!(passes(&all, &unknown, &mut cgroup("shop")));
    }

    #[test]
    fn a_transition_passes_by_the_container_of_its_process() {
        let transition = samples::transition();
        let in_shop = |transition, namespace| {
            passes_transition(&shop_filter(), transition, &mut cgroup(namespace))
        };
        assert!(in_shop(&transition, "shop"));
        assert!(!in_shop(&transition, "default"));
    }

    #[test]
    fn a_stuck_socket_passes_by_its_process_and_without_one_by_its_cgroup() {
        let mut stuck = samples::stuck();
        let owner = stuck.process.as_mut().expect("it has one");
        let mut process = Process::clone(&owner.process);
        process.container = Some(container("shop"));
        owner.process = process.into();
        // Its cgroup is another's, as where a service passes its sockets on.
        assert!(passes_stuck(&shop_filter(), &stuck, &mut cgroup("default")));
        (stuck.process, stuck.owner) = (None, None);
        stuck.socket.cgroup = CgroupId::new(77);
        assert!(passes_stuck(&shop_filter(), &stuck, &mut cgroup("shop")));
        assert!(!passes_stuck(
            &shop_filter(),
            &stuck,
            &mut cgroup("default")
        ));
    }

    #[test]
    fn a_network_namespace_is_not_a_kubernetes_namespace() {
        for good in ["default", "kube-system", "1", "42", &"x".repeat(63)] {
            assert_eq!(kubernetes_namespace(good), Ok(good.to_owned()));
        }
        for network in ["4026531840", "/run/netns/blue", "/proc/1/ns/net"] {
            let why = kubernetes_namespace(network)
                .expect_err("refused")
                .to_string();
            assert!(why.ends_with("use netns"), "{network}: {why}");
        }
        for bad in ["", "Shop", "a_b", "-a", "a-", "a.b", &"x".repeat(64)] {
            let why = kubernetes_namespace(bad).expect_err("refused").to_string();
            assert!(why.starts_with("no Kubernetes namespace"), "{bad}: {why}");
        }
    }
}
