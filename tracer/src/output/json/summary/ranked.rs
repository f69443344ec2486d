//! The processes and peers with the most closes.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::output::cgroup_names::CgroupNames;
use crate::output::json::record::Container;
use tcpclose_core::process;
use tcpclose_core::summary::{Ranking, Service};
use tcpclose_core::types::Owner;

/// The names of a process.
#[derive(Serialize)]
struct Name<'a> {
    comm: Option<Cow<'a, str>>,
    cgroup: Option<String>,
    #[serde(serialize_with = "container")]
    container: Option<process::Container>,
}

impl<'a> Name<'a> {
    const NOBODY: Self = Self {
        comm: None,
        cgroup: None,
        container: None,
    };

    fn new(process: &'a Owner, cgroups: &mut dyn CgroupNames) -> Self {
        let cgroup = match process.cgroup {
            None => None,
            Some(id) => cgroups.name(id.get()).cloned(),
        };
        let (path, container) = cgroup.map(|name| (name.path, name.container)).unzip();
        Self {
            comm: Some(String::from_utf8_lossy(&process.comm)),
            cgroup: path,
            container: container.flatten(),
        }
    }
}

fn container<S: Serializer>(
    container: &Option<process::Container>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    container
        .as_ref()
        .map(Container::from)
        .serialize(serializer)
}

#[derive(Serialize)]
pub(super) struct Ranked<T> {
    pub closes: List<T>,
    pub resets: List<T>,
}

#[derive(Serialize)]
pub(super) struct List<T> {
    most: Vec<T>,
    other: u64,
    exact: bool,
}

#[derive(Serialize)]
pub(super) struct RankedProcess<'a> {
    #[serde(flatten)]
    process: Name<'a>,
    count: u64,
}

impl<'a> List<RankedProcess<'a>> {
    pub(super) fn of_processes(
        ranking: &'a Ranking<Option<Service>>,
        cgroups: &mut dyn CgroupNames,
    ) -> Self {
        let Ranking { most, other, exact } = ranking;
        let most = most.iter().map(|(process, count)| RankedProcess {
            process: match process {
                Some(Service(owner)) => Name::new(owner, cgroups),
                None => Name::NOBODY,
            },
            count: *count,
        });
        Self {
            most: most.collect(),
            other: *other,
            exact: *exact,
        }
    }
}

#[derive(Serialize)]
pub(super) struct RankedPeer {
    addr: IpAddr,
    count: u64,
}

impl From<&Ranking<IpAddr>> for List<RankedPeer> {
    fn from(ranking: &Ranking<IpAddr>) -> Self {
        let Ranking { most, other, exact } = ranking;
        let most = most.iter().map(|&(addr, count)| RankedPeer { addr, count });
        Self {
            most: most.collect(),
            other: *other,
            exact: *exact,
        }
    }
}
