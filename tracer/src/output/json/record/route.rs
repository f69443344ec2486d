//! The `route` record, of `tcpclose ports`.

use std::net::IpAddr;

use serde::Serialize;

use super::parts::{Address, Owner, VERSION, netns, rounded_share};
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use tcpclose_core::routes::{PortSettings, RouteHistory, RouteOwner, RouteReport};
use tcpclose_core::summary::ReuseScope;

/// The record of a route at the time of a scan.
#[derive(Serialize)]
pub(in crate::output::json) struct Route<'a> {
    v: u8,
    kind: &'static str,
    ts: Rfc3339,
    netns: Option<u32>,
    local: IpAddr,
    peer: Address,
    used: Option<u32>,
    reusable: Option<u32>,
    ports: Option<u32>,
    share: Option<f64>,
    live: u32,
    time_wait: u32,
    fin_wait2: u32,
    next_free_ms: Option<f64>,
    settings: Option<Settings>,
    owners: Vec<RouteOwnerRecord<'a>>,
    other_owners: u32,
    unowned: u32,
    /// Only a running agent knows these.
    unowned_minisockets: Option<u32>,
    counted_since: Option<Rfc3339>,
    closes_first: Option<&'static str>,
    lifetime_ms: Option<f64>,
    failed: Option<u64>,
    failing_since: Option<Rfc3339>,
}

/// Which ports connect() may choose, and when it takes over those in TIME_WAIT.
#[derive(Serialize)]
struct Settings {
    port_range: PortRange,
    reserved: u32,
    bound: u32,
    tw_reuse: u8,
    tw_reuse_delay_ms: f64,
    timestamps: Option<bool>,
}

/// The two ends of `net.ipv4.ip_local_port_range`.
#[derive(Serialize)]
struct PortRange {
    first: u16,
    last: u16,
}

/// A process that has connections on the route.
#[derive(Serialize)]
struct RouteOwnerRecord<'a> {
    #[serde(flatten)]
    owner: Owner<'a>,
    connections: u32,
    minisockets: Option<u32>,
}

impl<'a> Route<'a> {
    pub(in crate::output::json) fn new(report: &'a RouteReport, clock: &WallClock) -> Self {
        let RouteReport {
            usage,
            owners,
            other_owners,
            unowned,
            unowned_minisockets,
            history,
        } = report;
        let history = history.as_ref();
        let pressure = usage.pressure;
        let share = pressure.and_then(|pressure| pressure.share());
        Self {
            v: VERSION,
            kind: "route",
            ts: clock.rfc3339(usage.at),
            netns: netns(usage.route.netns),
            local: usage.route.local,
            peer: usage.route.peer.into(),
            used: pressure.and_then(|pressure| pressure.used),
            reusable: pressure.and_then(|pressure| pressure.reusable),
            ports: pressure.map(|pressure| pressure.ports),
            share: share.map(rounded_share),
            live: usage.live,
            time_wait: usage.time_wait,
            fin_wait2: usage.fin_wait2,
            next_free_ms: usage.next_free.map(rounded_ms),
            settings: usage.settings.map(Settings::from),
            owners: owners
                .iter()
                .map(|owner| RouteOwnerRecord::new(owner, history.is_some()))
                .collect(),
            other_owners: *other_owners,
            unowned: *unowned,
            unowned_minisockets: history.map(|_| *unowned_minisockets),
            counted_since: history.map(|history| clock.rfc3339(history.since)),
            closes_first: history.and_then(RouteHistory::closes_first).map(Into::into),
            lifetime_ms: history.and_then(|history| history.lifetime).map(rounded_ms),
            failed: history.map(|history| history.failed),
            failing_since: history
                .and_then(|history| history.failing_since)
                .map(|since| clock.rfc3339(since)),
        }
    }
}

impl From<PortSettings> for Settings {
    fn from(settings: PortSettings) -> Self {
        Self {
            port_range: PortRange {
                first: settings.first,
                last: settings.last,
            },
            reserved: settings.reserved,
            bound: settings.bound,
            tw_reuse: match settings.reuse.scope {
                ReuseScope::Nowhere => 0,
                ReuseScope::Everywhere => 1,
                ReuseScope::Loopback => 2,
            },
            tw_reuse_delay_ms: rounded_ms(settings.reuse.delay),
            timestamps: settings.reuse.timestamps,
        }
    }
}

impl<'a> RouteOwnerRecord<'a> {
    fn new(owner: &'a RouteOwner, knows_minisockets: bool) -> Self {
        Self {
            owner: Owner::of_connections(&owner.process, owner.source),
            connections: owner.connections,
            minisockets: knows_minisockets.then_some(owner.minisockets),
        }
    }
}
