//! Services: what people call the processes that belong together.

use crate::escape::{cut, push_for_terminal};
use tcpclose_core::container_filter::{SHORT_ID_LEN, is_hash_id};
use tcpclose_core::process::{Container, Process, Unit};
use tcpclose_sys::host::cgroup::CgroupName;
use tcpclose_sys::host::systemd_unit;

/// The most bytes of a name that are kept: its creator may make it as long as a path.
const MAX_NAME_LEN: usize = 128;

/// What the name of a service names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum ServiceKind {
    /// A pod, or a container outside of Kubernetes.
    Container,
    /// A unit of systemd's, or of a user's manager.
    Unit,
    /// All processes with this name that are in neither.
    Process,
    /// Connections whose process is not known.
    Unknown,
    /// Services that were forgotten for lack of room.
    Others,
}

/// A service: a container or pod, else a unit, else the processes of one name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Service {
    kind: ServiceKind,
    name: Box<str>,
}

impl Service {
    fn new(kind: ServiceKind, name: &str) -> Self {
        let mut shown = String::new();
        let kept = cut(name.as_bytes(), MAX_NAME_LEN);
        push_for_terminal(&mut shown, kept);
        if kept.len() < name.len() {
            shown.push('…');
        }
        Self {
            kind,
            name: shown.into(),
        }
    }

    /// Returns the service of a cgroup; `None` where its processes are a service by their names
    /// alone, as those of a login session are.
    pub fn from_cgroup(name: &CgroupName) -> Option<Self> {
        let unit = || systemd_unit::from_cgroup_path(&name.path);
        let container = name.container.as_ref().map(Self::from_container);
        container.or_else(|| Self::from_unit(&unit()?))
    }

    /// Returns the service of a process.
    pub fn from_process(process: &Process) -> Self {
        let container = process.container.as_ref().map(Self::from_container);
        let unit = || process.unit.as_ref().and_then(Self::from_unit);
        container
            .or_else(unit)
            .unwrap_or_else(|| Self::from_comm(&process.comm))
    }

    /// Returns the service of the processes with a name.
    pub fn from_comm(comm: &[u8]) -> Self {
        Self::new(ServiceKind::Process, &String::from_utf8_lossy(comm))
    }

    /// Returns what stands for the services that were forgotten.
    pub fn others() -> Self {
        Self::new(ServiceKind::Others, "(other services)")
    }

    /// Returns what stands for connections whose process is not known.
    pub fn unknown() -> Self {
        Self::new(ServiceKind::Unknown, "(process not known)")
    }

    fn from_container(container: &Container) -> Self {
        let id = match is_hash_id(&container.id) {
            true => &container.id[..SHORT_ID_LEN],
            false => &container.id,
        };
        let name = match (container.pod_name(), container.name(), &container.pod) {
            (Some(pod), ..) => format!("{}/{}", pod.namespace, pod.name),
            (None, Some(name), _) => name.to_owned(),
            (None, None, Some(pod)) => format!("pod {pod}"),
            (None, None, None) => format!("{} {id}", container.runtime),
        };
        Self::new(ServiceKind::Container, &name)
    }

    /// Scopes are what somebody has started by hand, with programs of any kind in one.
    fn from_unit(unit: &Unit) -> Option<Self> {
        let name = unit.user.as_ref().unwrap_or(&unit.name);
        let is_service = name.ends_with(".service") || name.ends_with(".socket");
        is_service.then(|| Self::new(ServiceKind::Unit, name))
    }

    /// Returns the name, escaped for the terminal.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns whether it stands for what no service is known of, or for many.
    pub fn is_remainder(&self) -> bool {
        matches!(self.kind, ServiceKind::Unknown | ServiceKind::Others)
    }
}
