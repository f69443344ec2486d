//! Shows the parsers of bytes that come from outside to testing/fuzz. Not an interface: it may
//! change with any version.

use std::path::PathBuf;

use tcpclose_core::process::{Container, ContainerNames};
use tcpclose_core::types::NetNs;

use crate::host::cgroup::CgroupMount;
use crate::host::container_names::{kubelet, runtimes};
use crate::host::{descriptor_links, mountinfo, process};
use crate::kernel::netns::scan::mounted_namespace;
use crate::kernel::sock_diag::KernelSocket;

pub use crate::host::proc_dir::stat_field;
pub use crate::kernel::sock_diag::message::{
    NetlinkBody, NetlinkMessage, NetlinkMessages, attributes,
};
pub use crate::kernel::tracefs::TracepointFormat;

/// Reads a `struct inet_diag_msg` with its attributes.
#[must_use]
pub fn socket(bytes: &[u8]) -> Option<KernelSocket> {
    KernelSocket::parse(bytes, NetNs::new(1))
}

/// Calls `found` with each network namespace that is mounted somewhere according to a mountinfo,
/// and its mount point.
pub fn network_namespaces(mountinfo: &[u8], mut found: impl FnMut(NetNs, PathBuf)) {
    let read = mountinfo::read(mountinfo, |mount| {
        if let Some(id) = mounted_namespace(&mount) {
            found(id, mount.point());
        }
    });
    read.expect("memory can be read");
}

/// Returns the mount point of the cgroup2 file system in a mountinfo, and the path of the cgroup
/// that is mounted there.
#[must_use]
pub fn cgroup_mount(mountinfo: &[u8]) -> Option<(PathBuf, String)> {
    let CgroupMount { point, prefix, .. } = CgroupMount::find(mountinfo)?;
    Some((point, prefix))
}

/// Returns the inode in `socket:[12345]`.
#[must_use]
pub fn socket_inode(link: &[u8]) -> Option<u32> {
    descriptor_links::socket_inode(link)
}

/// Returns the user in a `/proc/PID/status`.
#[must_use]
pub fn real_uid(status: &[u8]) -> Option<u32> {
    process::real_uid(status)
}

/// Returns the limit of open files in a `/proc/PID/limits`.
#[must_use]
pub fn descriptor_limit(limits: &[u8]) -> Option<u64> {
    process::descriptor_limit(limits)
}

/// Returns the container in a `/proc/PID/cgroup`.
#[must_use]
pub fn container_from_cgroups(cgroups: &str) -> Option<Container> {
    process::container_from_cgroups(cgroups)
}

/// Returns all names in the file of a container runtime, whichever it is.
#[must_use]
pub fn names_in_files(json: &[u8]) -> Vec<String> {
    let found = [
        runtimes::from_spec(json),
        runtimes::from_docker_config(json),
        runtimes::from_storage_list(json, "x"),
    ];
    found.into_iter().flatten().flat_map(all_names).collect()
}

/// Returns all names in the name of a link or a directory of the kubelet's logs.
#[must_use]
pub fn names_in_logs(name: &str) -> Vec<String> {
    let container = kubelet::container_of_link(name).map(|(_, names)| names);
    let pod = kubelet::pod_of_directory(name).map(|(_, pod)| ContainerNames {
        container: None,
        pod: Some(pod),
    });
    container
        .into_iter()
        .chain(pod)
        .flat_map(all_names)
        .collect()
}

fn all_names(names: ContainerNames) -> impl Iterator<Item = String> {
    let of_pod = names.pod.map(|pod| [pod.namespace, pod.name]);
    names
        .container
        .into_iter()
        .chain(of_pod.into_iter().flatten())
}
