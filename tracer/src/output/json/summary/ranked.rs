//! The processes and peers with the most closes.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::cgroup_names::CgroupNames;
use crate::output::json::record::Container;
use tcpclose_core::process;
use tcpclose_core::summary::{NameAndCgroup, Ranking};
use tcpclose_core::types::Owner;

/// The names of a process.
#[derive(Serialize)]
pub(super) struct ProcessIdentity<'a> {
    comm: Option<Cow<'a, str>>,
    cgroup: Option<String>,
    #[serde(serialize_with = "container")]
    container: Option<process::Container>,
}

impl<'a> ProcessIdentity<'a> {
    const UNKNOWN_OWNER: Self = Self {
        comm: None,
        cgroup: None,
        container: None,
    };

    pub(super) fn new(process: &'a Owner, cgroups: &mut dyn CgroupNames) -> Self {
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
pub(super) struct ClosesAndResets<T> {
    pub closes: RankedList<T>,
    pub resets: RankedList<T>,
}

#[derive(Serialize)]
pub(super) struct RankedList<T> {
    most: Vec<T>,
    other: u64,
    exact: bool,
}

impl<T> RankedList<T> {
    fn new<'a, K>(ranking: &'a Ranking<K>, mut entry: impl FnMut(&'a K, u64) -> T) -> Self {
        let Ranking {
            top,
            rest,
            exact,
            rest_keys: _,
        } = ranking;
        Self {
            most: top.iter().map(|(key, count)| entry(key, *count)).collect(),
            other: *rest,
            exact: *exact,
        }
    }
}

#[derive(Serialize)]
pub(super) struct RankedProcess<'a> {
    #[serde(flatten)]
    process: ProcessIdentity<'a>,
    count: u64,
}

impl<'a> RankedList<RankedProcess<'a>> {
    pub(super) fn from_ranking(
        ranking: &'a Ranking<Option<NameAndCgroup>>,
        cgroups: &mut dyn CgroupNames,
    ) -> Self {
        Self::new(ranking, |process, count| RankedProcess {
            process: match process {
                Some(service) => ProcessIdentity::new(service.owner(), cgroups),
                None => ProcessIdentity::UNKNOWN_OWNER,
            },
            count,
        })
    }
}

#[derive(Serialize)]
pub(super) struct RankedPeer {
    addr: IpAddr,
    count: u64,
}

impl From<&Ranking<IpAddr>> for RankedList<RankedPeer> {
    fn from(ranking: &Ranking<IpAddr>) -> Self {
        Self::new(ranking, |&addr, count| RankedPeer { addr, count })
    }
}
