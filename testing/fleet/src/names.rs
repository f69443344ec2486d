//! What the host knows of its processes: tasks, cgroups, containers, and what /proc has of them.

use std::path::PathBuf;
use std::sync::Arc;

use tcpclose::cgroup_names::CgroupNames;
use tcpclose_core::event::Task;
use tcpclose_core::process::{Container, ContainerNames, PodName, Process, Unit};
use tcpclose_core::types::{CgroupId, Owner, OwnerSource, SharedOwner, StartTime};
use tcpclose_sys::host::cgroup::CgroupName;

use crate::services::SERVICES;

/// The cgroup of the host's only service.
const CGROUP: CgroupId = CgroupId::new(4711).expect("it is not 0");

/// The user that services run as.
const UID: u32 = 1000;

/// The service of a host, as it is installed there.
#[derive(Clone, Debug)]
pub struct Installed {
    service: usize,
    /// Another one for each host and deploy.
    serial: u64,
    /// The process id.
    pub pid: u32,
    version: String,
}

impl Installed {
    /// Returns the process of a version. `serial` is another one for each host and deploy.
    #[must_use]
    pub fn new(service: usize, version: &str, serial: u64) -> Self {
        let pid = u32::try_from(serial % 30_000).unwrap_or(0) + 1_000;
        Self {
            service,
            serial,
            pid,
            version: version.to_owned(),
        }
    }

    fn name(&self) -> &'static str {
        SERVICES[self.service].name
    }

    /// Returns the task that calls the kernel.
    #[must_use]
    pub fn task(&self) -> Task {
        let mut comm = [0; 16];
        let name = self.name().as_bytes();
        comm[..name.len()].copy_from_slice(name);
        Task {
            pid: self.pid,
            uid: UID,
            cgroup: Some(CGROUP),
            comm,
            exits: Some(false),
            thread: None,
        }
    }

    /// Returns the holder of the listening socket.
    #[must_use]
    pub fn owner(&self) -> SharedOwner {
        SharedOwner::new(Owner {
            pid: self.pid,
            uid: UID,
            cgroup: Some(CGROUP),
            comm: self.name().as_bytes().into(),
            source: OwnerSource::Proc,
            thread: None,
        })
    }

    /// Returns the name of its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> CgroupName {
        let Self { serial, .. } = self;
        let name = self.name();
        if !SERVICES[self.service].in_container {
            return CgroupName {
                path: format!("/system.slice/{name}.service"),
                container: None,
            };
        }
        let id = format!("{:016x}", serial.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
        let pod = format!("{:08x}-0000-4000-8000-{serial:012x}", self.pid);
        let under = pod.replace('-', "_");
        let container = Container {
            runtime: "containerd",
            id: id.clone(),
            pod: Some(pod),
            names: Some(Arc::new(ContainerNames {
                container: Some(name.to_owned()),
                pod: Some(PodName {
                    namespace: "shop".to_owned(),
                    name: format!(
                        "{name}-{:08x}",
                        serial.wrapping_mul(0x9e37_79b9) & 0xffff_ffff
                    ),
                }),
            })),
        };
        CgroupName {
            path: format!("/kubepods.slice/kubepods-pod{under}.slice/cri-containerd-{id}.scope"),
            container: Some(container),
        }
    }

    /// Returns what /proc has of the process, which has leaked so many sockets.
    #[must_use]
    pub fn process(&self, leaked: u64) -> Process {
        let CgroupName { path, container } = self.cgroup();
        let name = self.name();
        let exe = format!("/opt/{name}/{}/bin/{name}", self.version);
        let unit = path.rsplit('/').next().map(|unit| Unit {
            name: unit.to_owned(),
            user: None,
        });
        Process {
            pid: self.pid,
            started: StartTime::new(self.serial + 1),
            comm: name.as_bytes().into(),
            uid: UID,
            command_line: format!("{exe}\0").into_bytes().into(),
            exe: Some(PathBuf::from(exe)),
            command_line_cut: false,
            open_fds: 24 + leaked,
            fd_limit: Some(65_536),
            cgroup: Some(path.clone()),
            cgroup_v2: Some(path),
            unit,
            container,
        }
    }
}

/// The names of the host's only cgroup.
#[derive(Debug)]
pub struct Names(pub CgroupName);

impl CgroupNames for Names {
    fn name(&mut self, id: u64) -> Option<&CgroupName> {
        (id == CGROUP.get()).then_some(&self.0)
    }
}
