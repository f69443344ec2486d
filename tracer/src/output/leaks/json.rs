//! `leak` records. Names and order of the fields are the contract that docs/ describes.

use std::borrow::Cow;
use std::io;
use std::net::IpAddr;

use serde::Serialize;

use super::{Owner, Report};
use crate::host::cgroup::CgroupName;
use crate::host::container;
use crate::host::process::Process;
use crate::lifecycle::leak::{Leak, Verdict};
use crate::lifecycle::types::{IpVersion, Nanos, NetNs};
use crate::output::cgroup_names::CgroupNames;
use crate::output::clock::{Rfc3339, WallClock};
use crate::output::duration::rounded_ms;
use crate::output::json::write_line;

/// The version of the contract.
const VERSION: u8 = 1;

#[derive(Serialize)]
struct Record<'a> {
    v: u8,
    kind: &'static str,
    event: &'static str,
    ts: Rfc3339,
    netns: Option<u32>,
    conn: Conn,
    owner: Option<OwnerRecord<'a>>,
    process: Option<ProcessRecord<'a>>,
    holders: Vec<HolderRecord<'a>>,
    leak: LeakRecord,
}

#[derive(Serialize)]
struct Conn {
    id: u64,
    family: &'static str,
    local: Endpoint,
    peer: Endpoint,
    role: &'static str,
    seen_from_start: bool,
    opened: Option<Rfc3339>,
    lifetime_ms: Option<f64>,
}

#[derive(Serialize)]
struct Endpoint {
    addr: IpAddr,
    port: u16,
}

#[derive(Serialize)]
struct OwnerRecord<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    uid: u32,
    cgroup: Option<&'a str>,
    container: Option<Container<'a>>,
    source: &'static str,
}

#[derive(Serialize)]
struct Container<'a> {
    runtime: &'a str,
    id: &'a str,
    pod: Option<&'a str>,
}

#[derive(Serialize)]
struct ProcessRecord<'a> {
    exe: Option<Cow<'a, str>>,
    command_line: Vec<Cow<'a, str>>,
    command_line_cut: bool,
    unit: Option<&'a str>,
    user_unit: Option<&'a str>,
    descriptors: Descriptors,
    stuck: usize,
    growth: Option<Growth>,
}

#[derive(Serialize)]
struct Descriptors {
    open: u64,
    limit: Option<u64>,
}

#[derive(Serialize)]
struct Growth {
    per_second: f64,
    samples: usize,
    span_ms: f64,
    r_squared: f64,
    exhausted_in_ms: Option<f64>,
}

#[derive(Serialize)]
struct HolderRecord<'a> {
    pid: u32,
    comm: Cow<'a, str>,
    fds: Vec<u32>,
}

#[derive(Serialize)]
struct LeakRecord {
    since: Rfc3339,
    age_ms: f64,
    age_known: &'static str,
    age_at_most_ms: Option<f64>,
    verdict: &'static str,
    unread_bytes: u32,
    unsent_bytes: u32,
    fds: Vec<u32>,
    cgroup: Option<String>,
    advice: String,
}

/// Appends one leak of a report as a line. `at` is when this was found out: later than the report for what is resolved.
///
/// # Errors
/// None in practice: memory is written to, and every value has a JSON form. `line` is then as it was before.
pub fn write_leak(
    line: &mut Vec<u8>,
    report: &Report,
    leak: &Leak,
    at: Nanos,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> io::Result<()> {
    let owner = report.owner(leak);
    let process = match owner {
        Owner::Process(pid) => report.processes.get(&pid),
        Owner::Nobody { .. } => None,
    };
    let fds = process
        .map(|process| report.fds(leak, process.pid))
        .unwrap_or_default();
    let socket = &leak.socket;
    let tuple = &socket.tuple;
    let record = Record {
        v: VERSION,
        kind: "leak",
        event: leak.event.name(),
        ts: clock.rfc3339(at),
        netns: (socket.netns != NetNs(0)).then_some(socket.netns.0),
        conn: Conn {
            id: socket.id.0,
            family: match tuple.ip() {
                IpVersion::V4 => "ipv4",
                IpVersion::V6 => "ipv6",
            },
            local: Endpoint {
                addr: tuple.local().ip(),
                port: tuple.local_port,
            },
            peer: Endpoint {
                addr: tuple.peer().ip(),
                port: tuple.peer_port,
            },
            role: match report.served.contains(&(socket.netns, tuple.local_port)) {
                true => "server",
                false => "unknown",
            },
            seen_from_start: false,
            opened: None,
            lifetime_ms: None,
        },
        owner: process.map(|process| OwnerRecord::new(process, leak.verdict)),
        process: process.map(|process| ProcessRecord::new(process, owner, report)),
        holders: holders(report, leak),
        leak: LeakRecord {
            since: clock.rfc3339(leak.age.since),
            age_ms: rounded_ms(at - leak.age.since),
            age_known: leak.age.known.name(),
            age_at_most_ms: leak.age.earliest.map(|earliest| rounded_ms(at - earliest)),
            verdict: leak.verdict.name(),
            unread_bytes: socket.unread(),
            unsent_bytes: socket.unsent,
            cgroup: cgroups
                .name(socket.cgroup)
                .map(|CgroupName { path, .. }| path.clone()),
            advice: leak.verdict.explain(socket.unread().into(), &fds),
            fds,
        },
    };
    write_line(line, &record)
}

/// Every process that holds it, with its descriptors.
fn holders<'a>(report: &'a Report, leak: &Leak) -> Vec<HolderRecord<'a>> {
    let mut records: Vec<HolderRecord<'a>> = Vec::new();
    for holder in report.holders(leak) {
        match records.iter_mut().find(|record| record.pid == holder.pid) {
            Some(record) => record.fds.push(holder.fd),
            None => {
                let comm = report
                    .processes
                    .get(&holder.pid)
                    .map_or(&[][..], |process| &process.comm);
                let comm = String::from_utf8_lossy(comm);
                records.push(HolderRecord {
                    pid: holder.pid,
                    comm,
                    fds: vec![holder.fd],
                });
            }
        }
    }
    records
}

impl<'a> OwnerRecord<'a> {
    fn new(process: &'a Process, verdict: Verdict) -> Self {
        Self {
            pid: process.pid,
            comm: String::from_utf8_lossy(&process.comm),
            uid: process.uid,
            cgroup: process.cgroup.as_deref(),
            container: process.container.as_ref().map(
                |container::Container { runtime, id, pod }| Container {
                    runtime,
                    id,
                    pod: pod.as_deref(),
                },
            ),
            source: match verdict {
                Verdict::NotAccepted => "listen",
                Verdict::EofUnread | Verdict::EofRead | Verdict::StillSending => "proc",
            },
        }
    }
}

impl<'a> ProcessRecord<'a> {
    fn new(process: &'a Process, owner: Owner, report: &Report) -> Self {
        Self {
            exe: process
                .exe
                .as_deref()
                .map(|exe| exe.as_os_str().to_string_lossy()),
            command_line: process.arguments().map(String::from_utf8_lossy).collect(),
            command_line_cut: process.command_line_cut,
            unit: process.unit.as_ref().map(|unit| unit.name.as_str()),
            user_unit: process.unit.as_ref().and_then(|unit| unit.user.as_deref()),
            descriptors: Descriptors {
                open: process.open,
                limit: process.limit,
            },
            stuck: report.stuck_of.get(&owner).copied().unwrap_or(0),
            growth: report.growth.get(&owner).map(|fit| Growth {
                per_second: fit.per_second,
                samples: fit.samples,
                span_ms: rounded_ms(fit.span),
                r_squared: fit.r_squared,
                exhausted_in_ms: report.exhausted_in(owner).map(rounded_ms),
            }),
        }
    }
}
