//! JSON lines, version 1: the records themselves are in `json/record/` and `json/summary/`.

mod record;
mod serializer;
mod summary;
#[cfg(test)]
mod tests;

use std::{fmt, io};

use serde::Serialize as _;
use serde_json::{Value, value};

use tcpclose_core::event::Transition;
use tcpclose_core::finding::Finding;
use tcpclose_core::routes::RouteReport;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::types::{Nanos, SharedOwner};
use tcpclose_sys::host::cgroup::CgroupName;

use super::clock::WallClock;
use crate::cgroup_names::CgroupNames;
use crate::record::Record;
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
            let cgroup = cgroup_of(close.owner.as_ref(), cgroups);
            record::Close::new(close, clock, cgroup).serialize(serializer)
        }
        Finding::TimeWait(time_wait) => {
            let cgroup = cgroup_of(time_wait.owner.as_ref(), cgroups);
            record::TimeWait::new(time_wait, clock, cgroup).serialize(serializer)
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
    let cgroup = match stuck.socket.cgroup {
        None => None,
        Some(id) => cgroups.name(id.get()),
    };
    record::StuckRecord::new(stuck, clock, cgroup).serialize(serializer)
}

fn cgroup_of<'a>(
    owner: Option<&SharedOwner>,
    cgroups: &'a mut dyn CgroupNames,
) -> Option<&'a CgroupName> {
    cgroups.name(owner?.cgroup?.get())
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
