//! Which container a cgroup belongs to, from its path: container runtimes name their cgroups after their containers.
//!
//! Nothing is asked of a runtime, so this needs neither its socket nor its being alive. Who may make cgroups may call
//! them so too: it is a name, not a proof.

/// A container, under the names that its runtime and Kubernetes have for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `systemd-nspawn`, `lxc`; `kubernetes` for a container of a pod where
    /// the path does not tell which runtime started it.
    pub runtime: &'static str,
    /// The runtime's full id (64 hex digits), or the name where the runtime has only names. Chosen by whoever started
    /// the container: escape it before it is shown.
    pub id: String,
    /// UID of its Kubernetes pod, with dashes as the API server prints it; `None` outside Kubernetes.
    pub pod: Option<String>,
}

/// What stands before the id in a cgroup's name. The names of supervisors (`libpod-conmon-`, `crio-conmon-`) are not
/// among them: such a process is outside of its container.
const PREFIXES: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
];

/// Namespaces of containerd in which people start containers by hand; `ctr` puts them at `/NAMESPACE/ID`.
const CONTAINERD_NAMESPACES: [&str; 2] = ["default", "k8s.io"];

impl Container {
    /// The innermost container that the cgroup at `path` (from the root cgroup, `/system.slice/…`) is, or is within.
    /// `None` where the path names none.
    #[must_use]
    pub fn from_cgroup_path(path: &str) -> Option<Self> {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        (0..names.len()).rev().find_map(|at| {
            let (runtime, id) = container(&names[..=at])?;
            Some(Self {
                runtime,
                id,
                pod: pod(&names[..=at]),
            })
        })
    }
}

/// Runtime and id of the container whose own cgroup is the last of `names`.
fn container(names: &[&str]) -> Option<(&'static str, String)> {
    let (&name, parents) = names.split_last()?;
    let hex = |runtime, id: &str| is_hex(id, 64).then(|| (runtime, id.to_owned()));

    // containerd with the cgroupfs driver under a kubelet with the systemd driver: `POD.slice:cri-containerd:ID`.
    if let Some((rest, id)) = name.rsplit_once(':') {
        let prefix = rest.rsplit_once(':').map_or(rest, |(_, prefix)| prefix);
        let (_, runtime) = PREFIXES
            .into_iter()
            .find(|(known, _)| known.strip_suffix('-') == Some(prefix))?;
        return hex(runtime, id);
    }
    let unit = name.strip_suffix(".scope").unwrap_or(name);
    if let Some(found) = PREFIXES
        .into_iter()
        .find_map(|(prefix, runtime)| hex(runtime, unit.strip_prefix(prefix)?))
    {
        return Some(found);
    }
    if let Some(id) = name.strip_prefix("lxc.payload.") {
        return named("lxc", id);
    }
    match *parents {
        [.., "docker"] if is_hex(name, 64) => Some(("docker", name.to_owned())),
        [.., "lxc" | "lxc.payload"] => named("lxc", name),
        [.., "machine.slice"] => machine(name),
        [.., parent] if pod_uid(parent).is_some() && parents.iter().any(|p| is_kubepods(p)) => {
            hex("kubernetes", name)
        }
        [namespace] if CONTAINERD_NAMESPACES.contains(&namespace) => named("containerd", name),
        _ => None,
    }
}

/// A machine of systemd-machined. Virtual machines of libvirt are there too; they are no containers.
fn machine(unit: &str) -> Option<(&'static str, String)> {
    if let Some(name) = unit
        .strip_prefix("systemd-nspawn@")
        .and_then(|u| u.strip_suffix(".service"))
    {
        return named("systemd-nspawn", &unescape(name));
    }
    let name = unescape(unit.strip_prefix("machine-")?.strip_suffix(".scope")?);
    // libvirt's own names: DRIVER-NUMBER-NAME.
    let libvirt = |driver: &str| {
        let (number, domain) = name.strip_prefix(driver)?.split_once('-')?;
        number
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(domain)
    };
    if libvirt("qemu-").is_some() {
        return None;
    }
    match libvirt("lxc-") {
        Some(domain) => named("lxc", domain),
        None => named("systemd-nspawn", &name),
    }
}

fn named(runtime: &'static str, id: &str) -> Option<(&'static str, String)> {
    (!id.is_empty()).then(|| (runtime, id.to_owned()))
}

/// UID of the innermost pod among `names`.
fn pod(names: &[&str]) -> Option<String> {
    let within = names.iter().position(|name| is_kubepods(name))?;
    names[within..].iter().rev().find_map(|name| {
        // Everything after the slice belongs to the container: see `container`.
        pod_uid(name.split_once(':').map_or(*name, |(slice, _)| slice))
    })
}

/// Whether the kubelet made the cgroup: `kubepods`, `kubepods.slice`, `kubepods-burstable-podUID.slice`, and the same
/// after a parent's name (`kubelet-kubepods…` with a `cgroupRoot`).
fn is_kubepods(name: &str) -> bool {
    name.split(['-', '.']).any(|word| word == "kubepods")
}

/// The pod UID in `podUID` (cgroupfs driver) or `…-podUID.slice` (systemd driver, with `_` in place of `-`).
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // A UUID, or for static pods the MD5 of their definition.
    let parts: Vec<&str> = uid.split('-').collect();
    let is_uuid = parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, len)| is_hex(part, len));
    (is_uuid || is_hex(&uid, 32)).then_some(uid)
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes systemd's `\xNN` in unit names (systemd.unit(5)). What does not make UTF-8 stays as it is.
fn unescape(unit: &str) -> String {
    let mut plain = Vec::with_capacity(unit.len());
    let mut rest = unit.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match after {
            [b'x', high, low, tail @ ..] if *first == b'\\' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
                    plain.push((high << 4 | low) as u8);
                    rest = tail;
                } else {
                    plain.push(*first);
                }
            }
            _ => plain.push(*first),
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| unit.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
    const OUTER: &str = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970";
    const POD: &str = "115d8276-f508-4006-afc2-ebf2e6b7f072";
    const POD_UNIT: &str = "115d8276_f508_4006_afc2_ebf2e6b7f072";

    /// Runtime, id and pod in `path`, in which `{id}`, `{outer}`, `{pod}` and `{pod_unit}` stand for the constants.
    fn found(path: &str) -> Option<(&'static str, String, Option<String>)> {
        let path = path
            .replace("{id}", ID)
            .replace("{outer}", OUTER)
            .replace("{pod}", POD)
            .replace("{pod_unit}", POD_UNIT);
        Container::from_cgroup_path(&path).map(|Container { runtime, id, pod }| (runtime, id, pod))
    }

    #[track_caller]
    fn is(path: &str, runtime: &'static str, id: &str, pod: Option<&str>) {
        assert_eq!(
            found(path),
            Some((runtime, id.to_owned(), pod.map(str::to_owned))),
            "{path}"
        );
    }

    #[track_caller]
    fn is_none(path: &str) {
        assert_eq!(found(path), None, "{path}");
    }

    #[test]
    fn docker_under_both_drivers_and_rootless() {
        is("/system.slice/docker-{id}.scope", "docker", ID, None);
        is("/docker/{id}", "docker", ID, None);
        is(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{id}.scope",
            "docker",
            ID,
            None,
        );
    }

    #[test]
    fn containerd_started_by_nerdctl_or_ctr() {
        is("/system.slice/nerdctl-{id}.scope", "containerd", ID, None);
        is("/default/{id}", "containerd", ID, None);
        is("/default/busybox1", "containerd", "busybox1", None);
        is("/k8s.io/debug/sub", "containerd", "debug", None);
    }

    #[test]
    fn podman_under_both_drivers_in_pods_rootless_and_split() {
        is("/machine.slice/libpod-{id}.scope", "podman", ID, None);
        is(
            "/machine.slice/libpod-{id}.scope/container",
            "podman",
            ID,
            None,
        );
        is("/libpod_parent/libpod-{id}", "podman", ID, None);
        is(
            "/machine.slice/machine-libpod_pod_{outer}.slice/libpod-{id}.scope/container",
            "podman",
            ID,
            None,
        );
        is(
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope/container",
            "podman",
            ID,
            None,
        );
        is(
            "/system.slice/web.service/libpod-payload-{id}",
            "podman",
            ID,
            None,
        );
    }

    #[test]
    fn supervisors_are_outside_of_their_containers() {
        is_none("/machine.slice/libpod-conmon-{id}.scope");
        is_none("/system.slice/crio-conmon-{id}.scope");
        is_none("/lxc.monitor.web");
        is_none("/lxc.monitor/web");
        is_none("/system.slice/docker.service");
    }

    #[test]
    fn kubernetes_with_the_systemd_driver() {
        let slice =
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod_unit}.slice";
        is(
            &format!("{slice}/cri-containerd-{{id}}.scope"),
            "containerd",
            ID,
            Some(POD),
        );
        is(
            &format!("{slice}/crio-{{id}}.scope"),
            "cri-o",
            ID,
            Some(POD),
        );
        is(
            &format!("{slice}/crio-{{id}}.scope/container"),
            "cri-o",
            ID,
            Some(POD),
        );
        is(
            &format!("{slice}/docker-{{id}}.scope"),
            "docker",
            ID,
            Some(POD),
        );
        is(
            "/kubepods.slice/kubepods-pod{pod_unit}.slice/cri-containerd-{id}.scope",
            "containerd",
            ID,
            Some(POD),
        );
        is_none(slice);
    }

    #[test]
    fn kubernetes_with_the_cgroupfs_driver() {
        is(
            "/kubepods/burstable/pod{pod}/{id}",
            "kubernetes",
            ID,
            Some(POD),
        );
        is("/kubepods/pod{pod}/{id}", "kubernetes", ID, Some(POD));
        is(
            "/kubepods/besteffort/pod{pod}/crio-{id}",
            "cri-o",
            ID,
            Some(POD),
        );
        is_none("/kubepods/besteffort/pod{pod}");
        is_none("/kubepods/besteffort");
    }

    #[test]
    fn kubernetes_with_one_driver_in_the_kubelet_and_the_other_in_containerd() {
        is(
            "/system.slice/containerd.service/kubepods-burstable-pod{pod_unit}.slice:cri-containerd:{id}",
            "containerd",
            ID,
            Some(POD),
        );
        is_none("/system.slice/containerd.service/a.slice:other:{id}");
        is_none("/a:{id}");
    }

    #[test]
    fn a_static_pod_has_a_hash_for_its_uid() {
        let uid = "0123456789abcdef0123456789abcdef";
        is(
            &format!("/kubepods/burstable/pod{uid}/{{id}}"),
            "kubernetes",
            ID,
            Some(uid),
        );
        is(
            &format!("/kubepods.slice/kubepods-pod{uid}.slice/crio-{{id}}.scope"),
            "cri-o",
            ID,
            Some(uid),
        );
    }

    #[test]
    fn the_innermost_container_counts() {
        // A Kubernetes node in a Docker container (kind).
        is(
            "/system.slice/docker-{outer}.scope/kubelet.slice/kubelet-kubepods.slice/\
             kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod{pod_unit}.slice/\
             cri-containerd-{id}.scope",
            "containerd",
            ID,
            Some(POD),
        );
        is(
            "/docker/{outer}/kubelet/kubepods/pod{pod}/{id}",
            "kubernetes",
            ID,
            Some(POD),
        );
        is(
            "/lxc.payload.web/system.slice/docker-{id}.scope",
            "docker",
            ID,
            None,
        );
        // What runs beside the pods of such a node is in the node's container, and in no pod.
        is(
            "/docker/{id}/system.slice/kubelet.service",
            "docker",
            ID,
            None,
        );
    }

    #[test]
    fn a_cgroup_within_a_container_belongs_to_it() {
        is("/docker/{id}/init.scope", "docker", ID, None);
        is(
            "/kubepods/pod{pod}/{id}/system.slice/cron.service",
            "kubernetes",
            ID,
            Some(POD),
        );
    }

    #[test]
    fn systemd_nspawn_by_command_and_by_unit() {
        is(
            "/machine.slice/machine-web.scope/payload",
            "systemd-nspawn",
            "web",
            None,
        );
        is(
            r"/machine.slice/machine-debian\x2d12.scope/payload/system.slice/ssh.service",
            "systemd-nspawn",
            "debian-12",
            None,
        );
        is(
            r"/machine.slice/systemd-nspawn@my\x2dbox.service/payload",
            "systemd-nspawn",
            "my-box",
            None,
        );
    }

    #[test]
    fn libvirt_has_virtual_machines_and_containers_among_the_machines() {
        is_none(r"/machine.slice/machine-qemu\x2d3\x2dwin11.scope/libvirt/emulator");
        is(
            r"/machine.slice/machine-lxc\x2d4711\x2dweb.scope",
            "lxc",
            "web",
            None,
        );
        is(
            r"/machine.slice/machine-qemu\x2dlab.scope",
            "systemd-nspawn",
            "qemu-lab",
            None,
        );
    }

    #[test]
    fn lxc_old_and_new() {
        is(
            "/lxc.payload.web/system.slice/nginx.service",
            "lxc",
            "web",
            None,
        );
        is("/lxc.payload/web", "lxc", "web", None);
        is("/lxc/101/ns/init.scope", "lxc", "101", None);
    }

    #[test]
    fn ordinary_cgroups_are_no_containers() {
        for path in [
            "",
            "/",
            "//",
            "/system.slice",
            "/system.slice/mariadb.service",
            "/system.slice/docker-proxy.scope",
            "/system.slice/docker-{id}0.scope",
            "/system.slice/docker-9EC39B91.scope",
            "/user.slice/user-1000.slice/session-2.scope",
            "/init.scope",
            "/machine.slice",
            "/machine.slice/machine-.scope",
            "/machine.slice/machine-web.service",
            "/lxc.payload.",
            "/default",
            "/a/default/b",
            "/podium/{id}",
            "/pod{pod}/{id}",
            "/{id}",
            "/docker",
            "/docker/buildx",
        ] {
            is_none(path);
        }
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        for name in [r"a\", r"a\x", r"a\x2", r"a\xzz", r"\xff", r"a\y2d"] {
            assert_eq!(unescape(name), name);
        }
        assert_eq!(unescape(r"\x2d\x2da\x5cx2d"), r"--a\x2d");
    }
}
