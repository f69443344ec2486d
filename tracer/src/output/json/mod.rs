//! JSON lines, version 1: the records themselves are in `json/record/` and `json/summary/`.

mod record;
mod serializer;
mod summary;
#[cfg(test)]
mod tests;

use std::{fmt, io};

use serde::Serialize as _;
use serde_json::{Value, value};

use tcpclose_core::compare::Report;
use tcpclose_core::event::Transition;
use tcpclose_core::finding::{Endpoint, Finding};
use tcpclose_core::routes::RouteReport;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::types::{CgroupId, Nanos, SharedOwner};

use super::clock::WallClock;
use super::compare::{Compared, Recorded};
use super::triage::Triage;
use crate::cgroup_names::CgroupNames;
use crate::record::Record;
use record::OwnerCgroups;
use serializer::JsonSerializer;

/// Appends a record as one line.
///
/// # Errors
/// Never fails in practice: the output is in memory, and every value has a JSON form. After an
/// error `line` is unchanged.
pub fn write_record(
    line: &mut Vec<u8>,
    record: &Record,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> io::Result<()> {
    write_line(line, |serializer| {
        serialize(record, clock, cgroups, serializer)
    })
}

/// Appends a finding's record as one line.
///
/// # Errors
/// Fails as [`write_record`] does.
pub fn write_finding(
    line: &mut Vec<u8>,
    finding: &Finding,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> io::Result<()> {
    write_line(line, |serializer| {
        serialize_finding(finding, clock, cgroups, serializer)
    })
}

/// Appends the record of a stuck socket as one line.
///
/// # Errors
/// Fails as [`write_record`] does.
pub fn write_stuck(
    line: &mut Vec<u8>,
    stuck: &StuckSocket,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> io::Result<()> {
    write_line(line, |serializer| {
        serialize_stuck(stuck, clock, cgroups, serializer)
    })
}

/// Appends the record of a route as one line.
///
/// # Errors
/// Fails as [`write_record`] does.
pub fn write_route(line: &mut Vec<u8>, route: &RouteReport, clock: &WallClock) -> io::Result<()> {
    write_line(line, |serializer| {
        record::Route::new(route, clock).serialize(serializer)
    })
}

/// Appends the record of a triage as one line.
///
/// # Errors
/// Fails as [`write_record`] does.
pub fn write_triage(line: &mut Vec<u8>, triage: &Triage, clock: &WallClock) -> io::Result<()> {
    write_line(line, |serializer| {
        record::Triage::new(triage, clock).serialize(serializer)
    })
}

/// Appends the record of a comparison as one line.
///
/// # Errors
/// Fails as [`write_record`] does.
pub(crate) fn write_compare(
    line: &mut Vec<u8>,
    compared: &Compared,
    report: &Report,
    recorded: &[Recorded; 2],
    clock: &WallClock,
) -> io::Result<()> {
    let now = tcpclose_sys::kernel::clock::now();
    write_line(line, |serializer| {
        record::Compare::new(compared, report, recorded, clock, now).serialize(serializer)
    })
}

/// Returns a record as a value with unescaped names, which the caller must escape before showing
/// them.
///
/// # Errors
/// Never fails in practice: every value has a JSON form.
pub fn to_value(
    record: &Record,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> serde_json::Result<Value> {
    serialize(record, clock, cgroups, value::Serializer)
}

fn serialize<S: serde::Serializer>(
    record: &Record,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match record {
        Record::Finding(finding) => serialize_finding(finding, clock, cgroups, serializer),
        Record::Summary(summary) => {
            summary::Summary::new(summary, clock, cgroups).serialize(serializer)
        }
    }
}

fn serialize_finding<S: serde::Serializer>(
    finding: &Finding,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match finding {
        Finding::Close(close) => {
            let owner = cgroup_of(close.owner.as_ref());
            with_cgroups(owner, &close.endpoint, cgroups, |cgroups| {
                record::Close::new(close, clock, cgroups).serialize(serializer)
            })
        }
        Finding::TimeWait(time_wait) => {
            let owner = cgroup_of(time_wait.owner.as_ref());
            with_cgroups(owner, &time_wait.endpoint, cgroups, |cgroups| {
                record::TimeWait::new(time_wait, clock, cgroups).serialize(serializer)
            })
        }
        Finding::Stuck(stuck) => serialize_stuck(stuck, clock, cgroups, serializer),
        Finding::Loss(loss) => record::Loss::new(loss, clock).serialize(serializer),
    }
}

fn serialize_stuck<S: serde::Serializer>(
    stuck: &StuckSocket,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    with_cgroups(stuck.socket.cgroup, &stuck.endpoint, cgroups, |cgroups| {
        record::StuckRecord::new(stuck, clock, cgroups).serialize(serializer)
    })
}

fn cgroup_of(owner: Option<&SharedOwner>) -> Option<CgroupId> {
    owner?.cgroup
}

/// Calls `serialize` with the names of the owner's cgroup and of that of the process at the other
/// end.
fn with_cgroups<T>(
    owner: Option<CgroupId>,
    endpoint: &Endpoint,
    cgroups: &mut dyn CgroupNames,
    serialize: impl FnOnce(OwnerCgroups<'_>) -> T,
) -> T {
    let peer = cgroup_of(endpoint.peer_owner.as_ref());
    let is_same = peer == owner;
    // Looking up one name gives up the other.
    let of_peer = peer
        .filter(|_| !is_same)
        .and_then(|id| cgroups.name(id.get()).cloned());
    let of_owner = owner.and_then(|id| cgroups.name(id.get()));
    serialize(OwnerCgroups {
        owner: of_owner,
        peer_owner: if is_same { of_owner } else { of_peer.as_ref() },
    })
}

/// Appends a raw transition as one line. `time_in_old_state` is the time spent in the state that
/// was left.
///
/// # Errors
/// Fails as [`write_record`] does.
pub fn write_transition(
    line: &mut Vec<u8>,
    transition: &Transition,
    time_in_old_state: Option<Nanos>,
    clock: &WallClock,
) -> io::Result<()> {
    write_line(line, |serializer| {
        record::Transition::new(transition, time_in_old_state, clock).serialize(serializer)
    })
}

fn write_line(
    line: &mut Vec<u8>,
    serialize: impl FnOnce(&mut JsonSerializer<'_>) -> fmt::Result,
) -> io::Result<()> {
    let start = line.len();
    if serialize(&mut JsonSerializer(line)).is_err() {
        line.truncate(start);
        return Err(io::Error::other(
            "a record has a shape that JSON lines lack",
        ));
    }
    line.push(b'\n');
    Ok(())
}
