//! Selects connections by the container of their process.

use std::collections::BTreeSet;

use crate::process::Container;

/// The shortest part of a container's id that selects it: what the runtimes' own tools print.
pub const SHORT_ID_LEN: usize = 12;

/// Returns whether a text is a whole id as most runtimes make them: the 64 digits of a hash.
#[must_use]
pub fn is_hash_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Selects containers. An empty set lets every container pass, and what is in none; a set lets
/// those pass that one of its names fits. A name that is not known fits nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerFilter {
    /// Names of containers, or their ids, of which 12 digits are enough.
    pub containers: BTreeSet<String>,
    /// Names or UIDs of Kubernetes pods.
    pub pods: BTreeSet<String>,
    /// Kubernetes namespaces, not those of the network.
    pub namespaces: BTreeSet<String>,
}

impl ContainerFilter {
    /// Returns whether everything passes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.containers.is_empty() && self.pods.is_empty() && self.namespaces.is_empty()
    }

    /// Returns whether a process passes that is in this container, or in none.
    #[must_use]
    pub fn matches(&self, container: Option<&Container>) -> bool {
        if self.is_all() {
            return true;
        }
        let Some(container) = container else {
            return false;
        };
        let pod = container.pod_name();
        let fits = |wanted: &BTreeSet<String>, names: [Option<&str>; 2]| {
            wanted.is_empty()
                || names
                    .into_iter()
                    .flatten()
                    .any(|name| wanted.contains(name))
        };
        (fits(&self.containers, [container.name(), Some(&container.id)])
            || self.has_short_id(&container.id))
            && fits(
                &self.pods,
                [pod.map(|pod| &*pod.name), container.pod.as_deref()],
            )
            && fits(&self.namespaces, [pod.map(|pod| &*pod.namespace), None])
    }

    fn has_short_id(&self, id: &str) -> bool {
        let is_short_id = |wanted: &&String| {
            wanted.len() >= SHORT_ID_LEN && wanted.bytes().all(|byte| byte.is_ascii_hexdigit())
        };
        let mut short_ids = self.containers.iter().filter(is_short_id);
        short_ids.any(|short| id.starts_with(&**short))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::process::{ContainerNames, PodName};

    fn filter(containers: &[&str], pods: &[&str], namespaces: &[&str]) -> ContainerFilter {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ContainerFilter {
            containers: set(containers),
            pods: set(pods),
            namespaces: set(namespaces),
        }
    }

    fn nginx() -> Container {
        Container {
            names: Some(Arc::new(ContainerNames {
                container: Some("nginx".to_owned()),
                pod: Some(PodName {
                    namespace: "shop".to_owned(),
                    name: "web-0".to_owned(),
                }),
            })),
            ..unnamed()
        }
    }

    fn unnamed() -> Container {
        Container {
            runtime: "containerd",
            id: "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d".to_owned(),
            pod: Some("115d8276-f508-4006-afc2-ebf2e6b7f072".to_owned()),
            names: None,
        }
    }

    #[test]
    fn a_container_passes_where_each_set_fits_it() {
        for (containers, pods, namespaces) in [
            (&[][..], &[][..], &["shop"][..]),
            (&["nginx"], &["web-0"], &["shop"]),
            (&["other", "nginx"], &[], &[]),
            (&["9ec39b91f3d7"], &[], &[]),
            (&[], &["115d8276-f508-4006-afc2-ebf2e6b7f072"], &["shop"]),
        ] {
            let filter = filter(containers, pods, namespaces);
            assert!(filter.matches(Some(&nginx())), "{filter:?}");
        }
        for (containers, pods, namespaces) in [
            (&[][..], &[][..], &["default"][..]),
            (&["nginx"], &["web-1"], &["shop"]),
            (&["ngin"], &[], &[]),
            // Less than people can mean.
            (&["9ec39b91"], &[], &[]),
            // The namespace is no pod, and the pod no container.
            (&[], &["shop"], &[]),
            (&["web-0"], &[], &[]),
        ] {
            let filter = filter(containers, pods, namespaces);
            assert!(!filter.matches(Some(&nginx())), "{filter:?}");
        }
    }

    #[test]
    fn what_is_not_known_passes_only_where_nothing_is_asked() {
        assert!(filter(&[], &[], &[]).matches(None));
        assert!(!filter(&["nginx"], &[], &[]).matches(None));
        assert!(!filter(&[], &["web-0"], &[]).matches(Some(&unnamed())));
        assert!(!filter(&[], &[], &["shop"]).matches(Some(&unnamed())));
        let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
        assert!(filter(&[id], &[], &[]).matches(Some(&unnamed())));
    }
}
