use super::*;

const ID: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
const OUTER: &str = "4f797c539e6c745de61a93ca3ff892358ecbcaccd8414d5db545c38428142970";
const POD: &str = "115d8276-f508-4006-afc2-ebf2e6b7f072";
const POD_UNIT: &str = "115d8276_f508_4006_afc2_ebf2e6b7f072";

/// Runtime, id and pod in `path`, in which `{id}`, `{outer}`, `{pod}` and `{pod_unit}` are replaced
/// by the constants.
fn found(path: &str) -> Option<(&'static str, String, Option<String>)> {
    let path = path
        .replace("{id}", ID)
        .replace("{outer}", OUTER)
        .replace("{pod}", POD)
        .replace("{pod_unit}", POD_UNIT);
    from_cgroup_path(&path).map(
        |Container {
             runtime, id, pod, ..
         }| (runtime, id, pod),
    )
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
    let slice = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod_unit}.slice";
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
fn ordinary_cgroups_are_not_containers() {
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

/// As `--pid=host` shows it to a container with a cgroup namespace of its own.
#[test]
fn a_container_outside_of_ones_own_cgroup_namespace() {
    is("/../{id}", "unknown", ID, None);
    is("/../../docker/{id}", "docker", ID, None);
    is(
        "/../../../system.slice/docker-{id}.scope",
        "docker",
        ID,
        None,
    );
    is("/../../pod{pod}/{id}", "kubernetes", ID, Some(POD));
    is(
        "/../../kubepods-besteffort-pod{pod_unit}.slice/cri-containerd-{id}.scope",
        "containerd",
        ID,
        Some(POD),
    );
    is_none("/../web.service");
    is_none("/{id}");
}
