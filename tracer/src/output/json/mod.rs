//! JSON lines, version 1: the records themselves are in `json/record/` and `json/summary/`.

mod close_counts;
mod counts_by_word;
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
use crate::pair_id::PairKey;
use crate::record::Record;
use crate::sampling::Sampling;
use record::{RecordContext, Sample};
use serializer::JsonSerializer;

/// What the records of one agent have in common.
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonOptions {
    /// The key of the pair ids.
    pub pair_key: PairKey,
    /// How single closes are sampled; `None` where all are kept.
    pub sampling: Option<Sampling>,
}

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
    options: &JsonOptions,
) -> io::Result<()> {
    write_line(line, |serializer| {
        serialize(record, clock, cgroups, options, serializer)
    })
}

/// Appends a finding's record as one line, with the default options.
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
        serialize_finding(finding, clock, cgroups, &JsonOptions::default(), serializer)
    })
}

/// Appends the record of a stuck socket as one line, with the default options.
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
        serialize_stuck(stuck, clock, cgroups, &JsonOptions::default(), serializer)
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
    pair_key: PairKey,
) -> io::Result<()> {
    let now = tcpclose_sys::kernel::clock::now();
    write_line(line, |serializer| {
        record::Compare::new(compared, report, recorded, (clock, now), pair_key)
            .serialize(serializer)
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
    options: &JsonOptions,
) -> serde_json::Result<Value> {
    serialize(record, clock, cgroups, options, value::Serializer)
}

impl JsonOptions {
    /// Returns what the record of a finding says about sampling. A record that was not kept is not
    /// written where sampling is on.
    fn sample(&self, finding: &Finding) -> Option<Sample> {
        let sampling = self.sampling.as_ref()?;
        let kept_for = sampling.decide_finding(finding)?;
        Some(Sample::new(sampling, kept_for))
    }
}

fn serialize<S: serde::Serializer>(
    record: &Record,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
    options: &JsonOptions,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match record {
        Record::Finding(finding) => serialize_finding(finding, clock, cgroups, options, serializer),
        Record::Summary(summary) => {
            let sample = Sample::always(options.sampling.as_ref());
            summary::Summary::new(summary, clock, cgroups, sample).serialize(serializer)
        }
        Record::Rollup(rollup) => {
            let sample = Sample::always(options.sampling.as_ref());
            record::Rollup::new(rollup, clock, sample).serialize(serializer)
        }
    }
}

fn serialize_finding<S: serde::Serializer>(
    finding: &Finding,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
    options: &JsonOptions,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let sample = options.sample(finding);
    match finding {
        Finding::Close(close) => {
            let owner = cgroup_of(close.owner.as_ref());
            with_context(
                owner,
                &close.endpoint,
                cgroups,
                (options, sample),
                |context| record::Close::new(close, clock, context).serialize(serializer),
            )
        }
        Finding::TimeWait(time_wait) => {
            let owner = cgroup_of(time_wait.owner.as_ref());
            with_context(
                owner,
                &time_wait.endpoint,
                cgroups,
                (options, sample),
                |context| record::TimeWait::new(time_wait, clock, context).serialize(serializer),
            )
        }
        Finding::Stuck(stuck) => serialize_stuck(stuck, clock, cgroups, options, serializer),
        Finding::Loss(loss) => record::Loss::new(loss, clock, sample).serialize(serializer),
    }
}

fn serialize_stuck<S: serde::Serializer>(
    stuck: &StuckSocket,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
    options: &JsonOptions,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let cgroup = stuck.socket.cgroup;
    let sample = Sample::always(options.sampling.as_ref());
    with_context(
        cgroup,
        &stuck.endpoint,
        cgroups,
        (options, sample),
        |context| record::StuckRecord::new(stuck, clock, context).serialize(serializer),
    )
}

fn cgroup_of(owner: Option<&SharedOwner>) -> Option<CgroupId> {
    owner?.cgroup
}

/// Calls `serialize` with the names of the owner's cgroup and of that of the process at the other
/// end.
fn with_context<T>(
    owner: Option<CgroupId>,
    endpoint: &Endpoint,
    cgroups: &mut dyn CgroupNames,
    (options, sample): (&JsonOptions, Option<Sample>),
    serialize: impl FnOnce(RecordContext<'_>) -> T,
) -> T {
    let peer = cgroup_of(endpoint.peer_owner.as_ref());
    let is_same = peer == owner;
    // Looking up one name gives up the other.
    let of_peer = peer
        .filter(|_| !is_same)
        .and_then(|id| cgroups.name(id.get()).cloned());
    let of_owner = owner.and_then(|id| cgroups.name(id.get()));
    serialize(RecordContext {
        owner: of_owner,
        peer_owner: if is_same { of_owner } else { of_peer.as_ref() },
        pair_key: options.pair_key,
        sample,
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
