//! The names in the state that container runtimes keep of each container.
//!
//! | runtime | file | names |
//! |---|---|---|
//! | containerd, nerdctl | `…/io.containerd.runtime.v2.task/NAMESPACE/ID/config.json` | annotations |
//! | CRI-O | `…/DRIVER-containers/ID/userdata/config.json` | annotations |
//! | docker | `…/containers/ID/config.v2.json` | name; labels of cri-dockerd |
//! | podman | `…/DRIVER-containers/containers.json`, `volatile-containers.json` | name |
//!
//! `config.json` is the specification of the Open Container Initiative, in which engines pass names
//! as annotations. Rootless runtimes keep their state below home directories, which are not read.

use serde::Deserialize;

use super::host_root::HostRoot;
use tcpclose_core::process::{Container, ContainerNames, PodName};

/// The longest `config.json` or `config.v2.json` that is read. Those with long environments have
/// some 50 kB.
const MAX_CONFIG_LEN: u64 = 1 << 20;

/// The longest `containers.json` that is read. A container takes 600 bytes in it.
const MAX_LIST_LEN: u64 = 4 << 20;

/// The longest name that is kept, in bytes: the longest that Kubernetes allows.
const MAX_NAME_LEN: usize = 253;

/// The most namespaces of containerd that are searched.
const MAX_NAMESPACES: usize = 64;

/// Where containerd keeps the state of its tasks: its default, k3s and RKE2, k0s, MicroK8s.
const CONTAINERD_DIRS: [&str; 4] = [
    "run/containerd/io.containerd.runtime.v2.task",
    "run/k3s/containerd/io.containerd.runtime.v2.task",
    "run/k0s/containerd/io.containerd.runtime.v2.task",
    "var/snap/microk8s/common/run/containerd/io.containerd.runtime.v2.task",
];

/// Where docker keeps its containers: its default, and that of the snap.
const DOCKER_DIRS: [&str; 2] = [
    "var/lib/docker/containers",
    "var/snap/docker/common/var-lib-docker/containers",
];

/// Where CRI-O and podman keep their containers (containers/storage), by storage driver. CRI-O has
/// `config.json` in both directories, the first of which is gone with the container.
const STORAGE_DIRS: [&str; 4] = [
    "run/containers/storage/overlay-containers",
    "var/lib/containers/storage/overlay-containers",
    "var/lib/containers/storage/btrfs-containers",
    "var/lib/containers/storage/vfs-containers",
];

/// Returns the names that the container's runtime has for it. Where the runtime is not known, all
/// are tried.
pub(super) fn find(root: &HostRoot, container: &Container) -> Option<ContainerNames> {
    let id = &*container.id;
    // It is a part of the paths.
    if id.is_empty() || id.starts_with('.') || id.contains('/') {
        return None;
    }
    let find = match container.runtime {
        "containerd" => containerd,
        "cri-o" => cri_o,
        "docker" => docker,
        "podman" => podman,
        "kubernetes" | "unknown" => any,
        _ => return None,
    };
    find(root, id).filter(|names| *names != ContainerNames::default())
}

fn any(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let has_names = |names: &ContainerNames| *names != ContainerNames::default();
    let runtimes = [containerd, cri_o, docker, podman];
    runtimes
        .into_iter()
        .find_map(|find| find(root, id).filter(has_names))
}

fn containerd(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    CONTAINERD_DIRS.into_iter().find_map(|state| {
        let mut namespaces = Vec::new();
        root.list(state, MAX_NAMESPACES, |name| {
            namespaces.push(name.to_owned())
        });
        namespaces.into_iter().find_map(|namespace| {
            let file = format!("{namespace}/{id}/config.json");
            from_spec(&root.read(state, &file, MAX_CONFIG_LEN)?)
        })
    })
}

fn cri_o(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let file = format!("{id}/userdata/config.json");
    STORAGE_DIRS
        .into_iter()
        .find_map(|storage| from_spec(&root.read(storage, &file, MAX_CONFIG_LEN)?))
}

fn docker(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let file = format!("{id}/config.v2.json");
    DOCKER_DIRS
        .into_iter()
        .find_map(|containers| from_docker_config(&root.read(containers, &file, MAX_CONFIG_LEN)?))
}

fn podman(root: &HostRoot, id: &str) -> Option<ContainerNames> {
    let lists = ["containers.json", "volatile-containers.json"];
    STORAGE_DIRS.into_iter().find_map(|storage| {
        lists
            .into_iter()
            .find_map(|list| from_storage_list(&root.read(storage, list, MAX_LIST_LEN)?, id))
    })
}

/// Returns a name, shortened to the longest that is kept.
pub(super) fn cut(name: &str) -> String {
    name[..name.floor_char_boundary(MAX_NAME_LEN)].to_owned()
}

fn names(
    container: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
) -> ContainerNames {
    let some = |name: Option<String>| name.filter(|name| !name.is_empty());
    let pod = some(pod).zip(some(namespace));
    ContainerNames {
        container: some(container).map(|name| cut(&name)),
        pod: pod.map(|(name, namespace)| PodName {
            namespace: cut(&namespace),
            name: cut(&name),
        }),
    }
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    annotations: Annotations,
}

/// The annotations of containerd's CRI plugin (pkg/cri/annotations), of CRI-O and of the kubelet's
/// labels (k8s.io/kubelet/pkg/types), and nerdctl's labels.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "io.kubernetes.cri.container-name")]
    cri_container: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-name")]
    cri_pod: Option<String>,
    #[serde(rename = "io.kubernetes.cri.sandbox-namespace")]
    cri_namespace: Option<String>,
    #[serde(rename = "io.kubernetes.container.name")]
    container: Option<String>,
    #[serde(rename = "io.kubernetes.pod.name")]
    pod: Option<String>,
    #[serde(rename = "io.kubernetes.pod.namespace")]
    namespace: Option<String>,
    #[serde(rename = "nerdctl/name")]
    nerdctl: Option<String>,
}

/// Returns the names in a `config.json`; `None` where it is none.
pub(crate) fn from_spec(json: &[u8]) -> Option<ContainerNames> {
    let Spec { annotations } = serde_json::from_slice(json).ok()?;
    let container = annotations.cri_container.or(annotations.container);
    Some(names(
        container.or(annotations.nerdctl),
        annotations.cri_pod.or(annotations.pod),
        annotations.cri_namespace.or(annotations.namespace),
    ))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerContainer {
    name: Option<String>,
    #[serde(default)]
    config: DockerConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DockerConfig {
    labels: Option<Annotations>,
}

/// Returns the names in docker's `config.v2.json`; `None` where it is none.
pub(crate) fn from_docker_config(json: &[u8]) -> Option<ContainerNames> {
    let DockerContainer { name, config } = serde_json::from_slice(json).ok()?;
    let labels = config.labels.unwrap_or_default();
    // Docker's own names begin with a slash.
    let own = name.map(|name| name.trim_start_matches('/').to_owned());
    Some(names(
        labels.container.or(own),
        labels.pod,
        labels.namespace,
    ))
}

#[derive(Deserialize)]
struct StorageContainer {
    id: String,
    names: Option<Vec<String>>,
}

/// Returns the name in containers/storage's list; `None` where the container is not in it.
pub(crate) fn from_storage_list(json: &[u8], id: &str) -> Option<ContainerNames> {
    let containers: Vec<StorageContainer> = serde_json::from_slice(json).ok()?;
    let found = containers.into_iter().find(|found| found.id == id)?;
    let own = found.names.unwrap_or_default();
    Some(names(own.into_iter().next(), None, None))
}
