//! The idle timeouts that the closes of an interval show.

use serde::Serialize;

use super::ranked::ProcessIdentity;
use crate::cgroup_names::CgroupNames;
use crate::output::duration::rounded_ms;
use crate::output::json::record::{Address, netns};
use tcpclose_core::summary::{
    FoundTimeouts, IdleTimeout, MissedTimeouts, ServiceAddress, ServiceSide,
};

#[derive(Serialize)]
pub(super) struct IdleTimeouts<'a> {
    most: Vec<IdleTimeoutRecord<'a>>,
    other: usize,
    exact: bool,
}

impl<'a> IdleTimeouts<'a> {
    pub(super) fn new(found: &'a FoundTimeouts, cgroups: &mut dyn CgroupNames) -> Self {
        let FoundTimeouts {
            most,
            others,
            exact,
        } = found;
        let most = most.iter();
        Self {
            most: most
                .map(|timeout| IdleTimeoutRecord::new(timeout, cgroups))
                .collect(),
            other: *others,
            exact: *exact,
        }
    }
}

#[derive(Serialize)]
struct IdleTimeoutRecord<'a> {
    netns: Option<u32>,
    listening_port: Option<u16>,
    peer: Option<Address>,
    closed_by: &'static str,
    process: Option<ProcessIdentity<'a>>,
    silence_ms: f64,
    closes: u64,
    silent_closes: u64,
    missed: Missed,
}

#[derive(Serialize)]
struct Missed {
    late: u64,
    crossed: u64,
    after_close: u64,
}

impl<'a> IdleTimeoutRecord<'a> {
    fn new(timeout: &'a IdleTimeout, cgroups: &mut dyn CgroupNames) -> Self {
        let IdleTimeout {
            of:
                ServiceSide {
                    netns: namespace,
                    service,
                    closed_by,
                },
            owner,
            silence,
            closes,
            silent_closes,
            missed:
                MissedTimeouts {
                    late,
                    crossed,
                    after_close,
                },
        } = timeout;
        let (listening_port, peer) = match service {
            ServiceAddress::Listening(port) => (Some(port.get()), None),
            ServiceAddress::Peer(peer) => (None, Some(Address::from(*peer))),
        };
        let owner = owner.as_deref();
        Self {
            netns: netns(*namespace),
            listening_port,
            peer,
            closed_by: closed_by.into(),
            process: owner.map(|owner| ProcessIdentity::new(owner, cgroups)),
            silence_ms: rounded_ms(*silence),
            closes: *closes,
            silent_closes: *silent_closes,
            missed: Missed {
                late: *late,
                crossed: *crossed,
                after_close: *after_close,
            },
        }
    }
}
