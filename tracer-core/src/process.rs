//! A process that holds sockets, from /proc. The process can choose its name, executable, command
//! line, cgroup, unit and container itself: escape them before they are shown.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::interner::{self, StaticName};
use super::kernel_ids::zero_is_none;
use super::types::{Owner, OwnerSource, StartTime};

/// A process, at the time it was inspected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Process id, in the reader's pid namespace.
    pub pid: u32,
    /// When the process started, if known.
    #[serde(with = "zero_is_none")]
    pub started: Option<StartTime>,
    /// Its name as the kernel has it: any bytes but NUL.
    pub comm: Box<[u8]>,
    /// Its real user id, in the reader's user namespace.
    pub uid: u32,
    /// The executable, with ` (deleted)` appended if it was deleted; `None` if the link may not be
    /// read.
    #[serde(with = "path_bytes")]
    pub exe: Option<PathBuf>,
    /// Its arguments, each ended by NUL, the first 4,096 bytes of them.
    pub command_line: Box<[u8]>,
    /// Whether the command line is longer than that.
    pub command_line_cut: bool,
    /// The number of open descriptors.
    pub open_fds: u64,
    /// The limit of open descriptors (`RLIMIT_NOFILE`, the soft limit); `None` if there is none, or
    /// if it is not known.
    pub fd_limit: Option<u64>,
    /// Path of its cgroup.
    pub cgroup: Option<String>,
    /// Path of its cgroup of v2.
    pub cgroup_v2: Option<String>,
    /// The systemd unit it belongs to.
    pub unit: Option<Unit>,
    /// The container it is in.
    pub container: Option<Container>,
}

/// A process by its id and when it started: no later one has both.
pub type ProcessKey = (u32, Option<StartTime>);

impl Process {
    /// Returns the key that identifies the process.
    #[must_use]
    pub const fn key(&self) -> ProcessKey {
        (self.pid, self.started)
    }

    /// Returns how many more descriptors the process may open; `None` if there is no limit, or if
    /// it is not known.
    #[must_use]
    pub fn fds_left(&self) -> Option<u64> {
        Some(self.fd_limit?.saturating_sub(self.open_fds))
    }

    /// Returns the process as the owner of a connection.
    #[must_use]
    pub fn as_owner(&self, source: OwnerSource) -> Owner {
        Owner {
            pid: self.pid,
            uid: self.uid,
            cgroup: None,
            comm: self.comm.clone(),
            source,
            thread: None,
        }
    }

    /// Returns the arguments that were kept, without empty ones at the end: a program that
    /// overwrites them with a title fills the rest with NULs.
    pub fn arguments(&self) -> impl Iterator<Item = &[u8]> {
        let line = &*self.command_line;
        let end = line.iter().rposition(|byte| *byte != 0);
        let line = &line[..end.map_or(0, |end| end + 1)];
        let empty = line.is_empty();
        line.split(|byte| *byte == 0).filter(move |_| !empty)
    }
}

/// The systemd unit that a cgroup belongs to. The creator of the cgroup chooses the names: escape
/// them before they are shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// The system manager's unit, such as `mariadb.service`.
    pub name: String,
    /// Where that is a user's manager (`user@1000.service`), the unit of that manager's.
    pub user: Option<String>,
}

/// A container, under the names that its runtime and Kubernetes have for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    /// `docker`, `containerd`, `cri-o`, `podman`, `systemd-nspawn`, `lxc`; `kubernetes` for a
    /// container of a pod whose path does not show which runtime started it.
    #[serde(deserialize_with = "interner::required")]
    pub runtime: StaticName,
    /// The runtime's full id (64 hex digits), or the name if the runtime has only names. The user
    /// who started the container chooses it: escape it before it is shown.
    pub id: String,
    /// UID of its Kubernetes pod, with dashes as the API server prints it; `None` outside
    /// Kubernetes.
    pub pod: Option<String>,
    /// The names that people gave it, where they are known. Recordings do not hold them.
    #[serde(skip)]
    pub names: Option<Arc<ContainerNames>>,
}

impl Container {
    /// Returns the container's own name, where it is known.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.names.as_ref()?.container.as_deref()
    }

    /// Returns the names of its Kubernetes pod, where they are known.
    #[must_use]
    pub fn pod_name(&self) -> Option<&PodName> {
        self.names.as_ref()?.pod.as_ref()
    }
}

/// The names that people gave a container. They are any text: escape them before they are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ContainerNames {
    /// The container's name: in Kubernetes that of the pod's specification, elsewhere the
    /// runtime's, such as `web` of `docker run --name web`.
    pub container: Option<String>,
    /// Its Kubernetes pod.
    pub pod: Option<PodName>,
}

/// A pod of Kubernetes by its names. Pods are named within a namespace, which has nothing to do
/// with network namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodName {
    /// The pod's Kubernetes namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
}

/// A path is any bytes; serde's own form of it refuses what is not UTF-8.
mod path_bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::PathBuf;

    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        let bytes = path.as_ref().map(|path| path.as_os_str().as_bytes());
        bytes.serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        let bytes = Option::<Vec<u8>>::deserialize(from)?;
        Ok(bytes.map(|bytes| OsString::from_vec(bytes).into()))
    }
}
