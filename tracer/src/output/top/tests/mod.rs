//! Screens as text, and what keys do to them.

mod counting;
mod keys;
mod screens;

use std::sync::Arc;

use super::*;
use crate::output::samples;
use crate::output::symbols::Symbols;
use tcpclose_core::ListedEndpoint;
use tcpclose_core::finding::{Cause, Close, ClosePath, Finding, Loss, LossLocation, Reset, Side};
use tcpclose_core::process::{Process, Unit};
use tcpclose_core::routes::{
    PortHolder, PortSettings, RouteReport, RouteUsage, RoutesReport, ScannedPort,
};
use tcpclose_core::stuck::{Report, Trends};
use tcpclose_core::summary::{ReuseRules, ReuseScope, Route};
use tcpclose_core::types::{CgroupId, EndpointId, Nanos, Owner, OwnerSource, Port, Role};
use tcpclose_sys::host::cgroup::CgroupName;

const START: Nanos = Nanos::from_secs(1_000);

fn at(ms: u64) -> Nanos {
    START + Nanos::from_millis(ms)
}

fn owner(pid: u32, comm: &[u8], cgroup: u64) -> Option<Arc<Owner>> {
    Some(Arc::new(Owner {
        pid,
        uid: 0,
        cgroup: CgroupId::new(cgroup),
        comm: comm.into(),
        source: OwnerSource::Connect,
        thread: None,
    }))
}

fn closed(at: Nanos, close: Close) -> Finding {
    Finding::Close(Box::new(Close { at, ..close }))
}

/// The reset of a connection of a client, which wrote to a peer that had closed.
fn stale(pid: u32) -> Close {
    let mut close = Close {
        path: ClosePath::Reset,
        cause: Some(Cause::StaleKeepalive),
        owner: owner(pid, b"python3", 7),
        reset: Some(Reset {
            by: Side::Peer,
            reason: None,
            kernel_reason: None,
        }),
        ..samples::three_way()
    };
    close.endpoint.tuple = samples::tuple("10.0.0.5:48350", "10.0.0.9:8088");
    close.endpoint.role = Role::Client;
    close
}

fn refused() -> Close {
    let mut close = Close {
        path: ClosePath::ConnectFailed,
        cause: Some(Cause::Refused),
        owner: owner(300, b"report-job", 0),
        ..samples::three_way()
    };
    close.endpoint.tuple = samples::tuple("127.0.0.1:48351", "127.0.0.1:5432");
    close
}

fn names() -> ServiceNames {
    let mut names = ServiceNames::default();
    for (id, path) in [
        (7, "/system.slice/billing.service"),
        (8, "/system.slice/web.service"),
    ] {
        let name = CgroupName {
            path: path.to_owned(),
            container: None,
        };
        let id = CgroupId::new(id).expect("it is not 0");
        names.insert(id, Service::from_cgroup(&name));
    }
    names
}

fn tally() -> Tally {
    let mut tally = Tally::new(START, Symbols::Unicode);
    for number in 0..300 {
        let close = Close {
            owner: owner(100, b"nginx", 8),
            ..samples::three_way()
        };
        tally.add(closed(at(number * 30), close));
    }
    for number in 0..13 {
        tally.add(closed(at(number * 700), stale(31_198)));
    }
    for number in 0..3 {
        tally.add(closed(at(number * 3_000), refused()));
    }
    tally.add(closed(at(2), samples::unknown()));
    tally.add(Finding::Loss(Loss {
        at: at(3),
        lost: 2,
        location: LossLocation::Ring,
        repaired: true,
        duration: None,
    }));
    tally
}

fn process(pid: u32, comm: &[u8], unit: &str, open_fds: u64) -> Process {
    Process {
        pid,
        comm: comm.into(),
        open_fds,
        fd_limit: Some(1_024),
        unit: Some(Unit {
            name: unit.to_owned(),
            user: None,
        }),
        ..Process::default()
    }
}

/// A route that has as many ports as are used.
fn full_route(owner: &Arc<Process>) -> RouteReport {
    let settings = PortSettings {
        first: 40_000,
        last: 40_009,
        reserved: 0,
        bound: 0,
        reuse: ReuseRules {
            scope: ReuseScope::Nowhere,
            delay: Nanos::from_secs(1),
            timestamps: None,
        },
    };
    let ports = (40_000..40_010).filter_map(|port| {
        Some(ScannedPort {
            port: Port::new(port)?,
            holder: match port {
                40_000 => PortHolder::Socket,
                _ => PortHolder::TimeWait(at(0)),
            },
        })
    });
    let route = Route {
        netns: None,
        local: "10.0.0.5".parse().expect("an address"),
        peer: "10.0.0.9:9300".parse().expect("an address"),
    };
    let usage = RouteUsage::new(route, ports.collect(), Some(settings), None, at(9_000));
    RouteReport::new(usage, [Some(owner)].into_iter(), std::iter::empty())
}

fn scan() -> HostScan {
    let pool = Arc::new(process(31_198, b"python3", "billing.service", 45));
    let mut stuck = samples::stuck();
    stuck.at = at(9_000);
    stuck.age.since = at(0) - Nanos::from_secs(384);
    if let Some(owner) = &mut stuck.process {
        owner.process = Arc::clone(&pool);
    }
    let mut other = stuck.clone();
    (other.endpoint.id, other.socket.id) = (EndpointId(16), EndpointId(16));
    let report = Report::new(
        at(9_000),
        Nanos::from_secs(60),
        vec![stuck, other],
        &mut Trends::default(),
    );
    let nopool = Arc::new(process(12_915, b"nopool", "nopool.service", 1_000));
    HostScan {
        at: at(9_000),
        stuck: Arc::new(report),
        routes: Arc::new(RoutesReport::new(
            at(9_000),
            None,
            vec![full_route(&nopool)],
        )),
        processes: vec![process(100, b"nginx", "web.service", 91)],
        unseen: Vec::new(),
    }
}

fn endpoint(id: u64) -> ListedEndpoint {
    ListedEndpoint {
        id: EndpointId(id),
        netns: None,
        tuple: samples::tuple("[2001:db8::5]:48350", "[2001:db8::9]:443"),
        role: Role::Client,
        state: tcpclose_common::TcpState::FinWait2,
        since: Some(at(id)),
        owner: owner(100, b"nginx", 8),
        is_orphan: true,
    }
}

fn view_of(tally: &Tally, scan: Option<&HostScan>, opened: Option<Service>) -> View {
    View::new(Sources {
        tally,
        names: &names(),
        scan,
        now: at(10_000),
        clock: samples::clock(),
        open: 412,
        closing: (vec![endpoint(1_000), endpoint(2_000)], 2),
        opened: opened.map(|service| (service, vec![endpoint(1_000)], 1)),
        position: None,
        untraced: None,
    })
}

/// Where nothing can be traced.
fn untraced_view() -> View {
    let nothing = Tally::new(at(0), Symbols::Unicode);
    View::new(Sources {
        tally: &nothing,
        names: &names(),
        scan: Some(&scan()),
        now: at(10_000),
        clock: samples::clock(),
        open: 0,
        closing: (Vec::new(), 0),
        opened: None,
        position: None,
        untraced: Some("no right to load eBPF programs"),
    })
}

fn view() -> View {
    view_of(&tally(), Some(&scan()), None)
}

fn billing() -> Service {
    let name = CgroupName {
        path: "/system.slice/billing.service".to_owned(),
        container: None,
    };
    Service::from_cgroup(&name).expect("it is a service")
}
