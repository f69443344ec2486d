//! Layouts as the kubelet and the runtimes make them. `testdata/containerd.json` was written by
//! containerd 1.6 and `podman.json` by podman 4.3; the others follow the sources of CRI-O and
//! docker.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cache::NameCache;
use super::host_root::HostRoot;
use super::kubelet::{container_of_link, pod_of_directory};
use super::runtimes::{from_docker_config, from_spec, from_storage_list};
use tcpclose_core::process::{Container, ContainerNames, PodName};

const ID: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
const UID: &str = "115d8276-f508-4006-afc2-ebf2e6b7f072";
const CONTAINERD: &[u8] = include_bytes!("testdata/containerd.json");
const CRI_O: &[u8] = include_bytes!("testdata/cri-o.json");
const DOCKER: &[u8] = include_bytes!("testdata/docker.json");
const PODMAN: &[u8] = include_bytes!("testdata/podman.json");
const PODMAN_ID: &str = "61c5b210aeeeacd1db0a182fcec65cb911a1048e4244c07127b5b09a4057955e";

/// A host's root directory, removed at the end.
struct Host(PathBuf);

impl Host {
    fn new(name: &str) -> Self {
        let name = format!("tcpclose-names-{name}-{}", std::process::id());
        let root = std::env::temp_dir().join(name);
        fs::create_dir_all(&root).expect("a directory of our own");
        Self(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.join(path);
        let parent = path.parent().expect("it is below the root");
        fs::create_dir_all(parent).expect("a directory of our own");
        path
    }

    fn file(&self, path: &str, content: &[u8]) {
        fs::write(self.path(path), content).expect("a file of our own");
    }

    fn link(&self, path: &str, target: impl AsRef<Path>) {
        symlink(target, self.path(path)).expect("a link of our own");
    }

    fn names(&self, runtime: &'static str) -> Option<ContainerNames> {
        self.cache()
            .names_at(&container(runtime), Instant::now())
            .map(|names| (*names).clone())
    }

    fn cache(&self) -> NameCache {
        NameCache::new(HostRoot::open(&self.0).into_iter().collect())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("it is ours");
    }
}

fn container(runtime: &'static str) -> Container {
    Container {
        runtime,
        id: ID.to_owned(),
        pod: Some(UID.to_owned()),
        names: None,
    }
}

fn nginx() -> ContainerNames {
    ContainerNames {
        container: Some("nginx".to_owned()),
        pod: Some(PodName {
            namespace: "shop".to_owned(),
            name: "web-7d4b9c-x2x7k".to_owned(),
        }),
    }
}

fn named(name: &str) -> ContainerNames {
    ContainerNames {
        container: Some(name.to_owned()),
        pod: None,
    }
}

#[test]
fn the_kubelets_links_name_everything_whatever_the_runtime() {
    let host = Host::new("links");
    let link = format!("var/log/containers/web-7d4b9c-x2x7k_shop_nginx-{ID}.log");
    host.link(
        &link,
        format!("/var/log/pods/shop_web-7d4b9c-x2x7k_{UID}/nginx/0.log"),
    );
    for runtime in ["containerd", "cri-o", "docker", "kubernetes", "unknown"] {
        assert_eq!(host.names(runtime), Some(nginx()), "{runtime}");
    }
}

#[test]
fn the_directory_of_a_pods_logs_names_the_pod() {
    let host = Host::new("pods");
    host.file(
        &format!("var/log/pods/shop_web-7d4b9c-x2x7k_{UID}/nginx/0.log"),
        b"",
    );
    let pod_only = ContainerNames {
        container: None,
        ..nginx()
    };
    assert_eq!(host.names("containerd"), Some(pod_only));
}

#[test]
fn each_runtimes_own_state_names_its_containers() {
    let task = "io.containerd.runtime.v2.task/k8s.io";
    for (runtime, file, content, names) in [
        (
            "containerd",
            format!("run/containerd/{task}/{ID}/config.json"),
            CONTAINERD,
            nginx(),
        ),
        (
            "containerd",
            format!("run/k3s/containerd/{task}/{ID}/config.json"),
            CONTAINERD,
            nginx(),
        ),
        (
            "kubernetes",
            format!("run/containerd/{task}/{ID}/config.json"),
            CONTAINERD,
            nginx(),
        ),
        (
            "cri-o",
            format!("run/containers/storage/overlay-containers/{ID}/userdata/config.json"),
            CRI_O,
            nginx(),
        ),
        (
            "cri-o",
            format!("var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json"),
            CRI_O,
            nginx(),
        ),
        (
            "docker",
            format!("var/lib/docker/containers/{ID}/config.v2.json"),
            DOCKER,
            named("shop-db-1"),
        ),
    ] {
        let host = Host::new("runtimes");
        host.file(&file, content);
        assert_eq!(host.names(runtime), Some(names), "{file}");
        // Another runtime's state is not taken for its own.
        assert_eq!(host.names("podman"), None, "{file}");
    }
}

#[test]
fn podmans_list_names_each_of_its_containers() {
    let host = Host::new("podman");
    let podman = Container {
        id: PODMAN_ID.to_owned(),
        pod: None,
        ..container("podman")
    };
    host.file(
        "var/lib/containers/storage/overlay-containers/containers.json",
        PODMAN,
    );
    let names = host.cache().names_at(&podman, Instant::now());
    assert_eq!(names.as_deref(), Some(&named("shop-db")));
    assert_eq!(host.names("podman"), None, "one that is not in the list");
}

#[test]
fn a_docker_container_of_kubernetes_has_its_pods_names() {
    let labels = br#""Labels":{"io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-7d4b9c-x2x7k","io.kubernetes.pod.namespace":"shop","x":"y""#;
    let json = String::from_utf8_lossy(DOCKER).replace(
        r#""Labels":{"#,
        &format!("{},", String::from_utf8_lossy(labels)),
    );
    assert_eq!(from_docker_config(json.as_bytes()), Some(nginx()));
}

#[test]
fn nerdctl_passes_its_name_as_an_annotation() {
    let spec = br#"{"ociVersion":"1.0.2","annotations":{"nerdctl/name":"web","nerdctl/namespace":"default"}}"#;
    assert_eq!(from_spec(spec), Some(named("web")));
}

#[test]
fn links_lead_to_no_other_file() {
    let host = Host::new("hostile");
    host.file("secret/config.json", CONTAINERD);
    let state = "run/containerd/io.containerd.runtime.v2.task";
    let secret = host.path("secret");
    // In place of the file, of the container's directory, and of the namespace.
    host.link(
        &format!("{state}/a/{ID}/config.json"),
        secret.join("config.json"),
    );
    host.link(&format!("{state}/b/{ID}"), &secret);
    host.link(&format!("{state}/c"), &secret);
    host.link(&format!("{state}/d/{ID}"), "../../../../../secret");
    // What is no file does not block.
    fs::create_dir_all(host.path(&format!("{state}/e/{ID}"))).expect("a directory of our own");
    let fifo = host.path(&format!("{state}/e/{ID}/config.json"));
    let mode = rustix::fs::Mode::RWXU;
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).expect("a FIFO of our own");
    assert_eq!(host.names("containerd"), None);
}

#[test]
fn a_directory_that_was_moved_is_found_through_its_link_within_the_root() {
    let host = Host::new("moved");
    host.file(
        &format!("data/docker/containers/{ID}/config.v2.json"),
        DOCKER,
    );
    // Absolute, and of the host: it counts from the root that is looked at.
    host.link("var/lib/docker", "/data/docker");
    assert_eq!(host.names("docker"), Some(named("shop-db-1")));
}

#[test]
fn a_file_that_is_too_long_or_broken_is_no_error() {
    let host = Host::new("broken");
    let path = format!("var/lib/docker/containers/{ID}/config.v2.json");
    for content in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"\xff",
        br#"{"Name":7}"#,
        br#"{"Name":""}"#,
    ] {
        host.file(&path, content);
        assert_eq!(
            host.names("docker"),
            None,
            "{:?}",
            String::from_utf8_lossy(content)
        );
    }
    let mut long = DOCKER.to_vec();
    long.resize(2 << 20, b' ');
    host.file(&path, &long);
    assert_eq!(host.names("docker"), None);
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    assert_eq!(from_spec(&deep), None);
}

#[test]
fn names_are_cut_to_the_longest_that_kubernetes_allows() {
    let name = "ä".repeat(1_000);
    let found = from_docker_config(format!(r#"{{"Name":"/{name}"}}"#).as_bytes());
    let cut = found.and_then(|names| names.container).expect("a name");
    assert_eq!(cut.len(), 252);
    assert!(name.starts_with(&cut));
}

#[test]
fn an_id_is_never_a_way_to_another_directory() {
    let host = Host::new("ids");
    host.file("var/lib/docker/config.v2.json", DOCKER);
    for id in ["..", ".", "", "../containers", "a/b"] {
        let id = Container {
            id: id.to_owned(),
            ..container("docker")
        };
        assert_eq!(host.cache().names_at(&id, Instant::now()), None, "{id:?}");
    }
}

#[test]
fn the_names_of_directories_and_links_are_taken_apart() {
    let link = format!("web.shop-0_kube-system_my-app-{ID}.log");
    let (id, names) = container_of_link(&link).expect("a container");
    assert_eq!((&*id, names.container.as_deref()), (ID, Some("my-app")));
    let pod = names.pod.expect("a pod");
    assert_eq!((&*pod.namespace, &*pod.name), ("kube-system", "web.shop-0"));
    // The kubelet cuts long names from the end, through the id.
    let long = format!("{}_shop_nginx-{}.log", "p".repeat(200), &ID[..20]);
    for link in [
        &*long,
        "",
        ".log",
        "a_b_c-d.log",
        "-.log",
        "__-.log",
        &format!("a_b-{ID}.log"),
    ] {
        assert_eq!(container_of_link(link), None, "{link}");
    }
    // A static pod's UID is the hash of its definition.
    let (uid, pod) =
        pod_of_directory("kube-system_etcd-node1_0123456789abcdef0123456789abcdef").expect("a pod");
    assert_eq!(uid, "0123456789abcdef0123456789abcdef");
    assert_eq!((&*pod.namespace, &*pod.name), ("kube-system", "etcd-node1"));
    for name in ["", "a", "a_b", "a_b_c_d", "_b_c", "a__c"] {
        assert_eq!(pod_of_directory(name), None, "{name}");
    }
}

#[test]
fn files_are_read_once_and_again_after_growing_pauses_where_they_had_nothing() {
    let host = Host::new("pauses");
    let mut cache = host.cache();
    let start = Instant::now();
    let path = format!("var/lib/docker/containers/{ID}/config.v2.json");
    let mut at =
        |millis| cache.names_at(&container("docker"), start + Duration::from_millis(millis));
    assert_eq!(at(0), None);
    host.file(&path, DOCKER);
    assert_eq!(at(999), None, "not yet");
    assert_eq!(at(1_000).as_deref(), Some(&named("shop-db-1")));
    host.file(&path, b"");
    assert_eq!(at(1_000_000).as_deref(), Some(&named("shop-db-1")), "known");

    let mut cache = host.cache();
    let mut looks = 0;
    for second in 0..600 {
        let now = start + Duration::from_secs(second);
        host.file(&path, b"");
        cache.names_at(&container("docker"), now);
        host.file(&path, DOCKER);
        looks += u32::from(cache.names_at(&container("docker"), now).is_some());
    }
    assert_eq!(looks, 0, "a second question at the same time reads nothing");
}

#[test]
fn the_cache_is_bounded_and_forgets_what_was_not_asked_for_longest() {
    let host = Host::new("bounded");
    host.file(
        &format!("var/lib/docker/containers/{ID}/config.v2.json"),
        DOCKER,
    );
    let mut cache = host.cache();
    let now = Instant::now();
    cache.names_at(&container("docker"), now);
    for number in 0..10_000 {
        let other = Container {
            id: format!("{number:064x}"),
            ..container("lxc")
        };
        cache.names_at(&other, now);
        cache.names_at(&container("docker"), now);
        assert!(cache.len() <= 4096);
    }
    host.file(
        &format!("var/lib/docker/containers/{ID}/config.v2.json"),
        b"",
    );
    let names = cache.names_at(&container("docker"), now);
    assert_eq!(
        names.as_deref(),
        Some(&named("shop-db-1")),
        "it was asked for all the time"
    );
}

#[test]
fn a_list_without_names_is_read() {
    let list = format!(r#"[{{"id":"x"}},{{"id":"{ID}","names":null}}]"#);
    assert_eq!(
        from_storage_list(list.as_bytes(), ID),
        Some(ContainerNames::default())
    );
    assert_eq!(from_storage_list(PODMAN, ID), None);
}
