//! JSON lines, version 1: the records themselves are in `json/record.rs`.

mod record;
mod summary;
#[cfg(test)]
mod tests;

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Serializer, Value, value};

use crate::host::cgroup::CgroupName;
use crate::lifecycle::event::Transition;
use crate::lifecycle::finding::Finding;
use crate::lifecycle::types::{Nanos, SharedOwner};

use super::cgroup_names::CgroupNames;
use super::clock::WallClock;
use super::escape::is_hostile;

/// Appends a finding as one line.
///
/// # Errors
/// None in practice: memory is written to, and every value has a JSON form. `line` is then as it was before.
pub fn write_finding(
    line: &mut Vec<u8>,
    finding: &Finding,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> io::Result<()> {
    write_line(line, |serializer| {
        serialize(finding, clock, cgroups, serializer)
    })
}

/// A finding's record as a value, with names as they are: whoever shows them must escape them.
///
/// # Errors
/// None in practice: every value has a JSON form.
pub fn value_of(
    finding: &Finding,
    clock: &WallClock,
    cgroups: &mut dyn CgroupNames,
) -> serde_json::Result<Value> {
    serialize(finding, clock, cgroups, value::Serializer)
}

fn serialize<S: serde::Serializer>(
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
        Finding::Leak(stuck) => {
            let cgroup = match stuck.leak.socket.cgroup {
                0 => None,
                id => cgroups.name(id),
            };
            record::Leak::new(stuck, clock, cgroup).serialize(serializer)
        }
        Finding::Loss(loss) => record::Loss::new(loss, clock).serialize(serializer),
        Finding::Summary(summary) => {
            summary::Summary::new(summary, clock, cgroups).serialize(serializer)
        }
    }
}

fn cgroup_of<'a>(
    owner: Option<&SharedOwner>,
    cgroups: &'a mut dyn CgroupNames,
) -> Option<&'a CgroupName> {
    let id = owner?.cgroup;
    if id == 0 { None } else { cgroups.name(id) }
}

/// Appends a raw transition as one line. `in_old` is the time spent in the state that was left.
///
/// # Errors
/// As [`write_finding`].
pub fn write_transition(
    line: &mut Vec<u8>,
    transition: &Transition,
    in_old: Option<Nanos>,
    clock: &WallClock,
) -> io::Result<()> {
    write_line(line, |serializer| {
        record::Transition::new(transition, in_old, clock).serialize(serializer)
    })
}

fn write_line(
    line: &mut Vec<u8>,
    serialize: impl FnOnce(&mut Serializer<&mut Vec<u8>, Escaping>) -> serde_json::Result<()>,
) -> io::Result<()> {
    let start = line.len();
    if let Err(error) = serialize(&mut Serializer::with_formatter(&mut *line, Escaping)) {
        line.truncate(start);
        return Err(error.into());
    }
    line.push(b'\n');
    Ok(())
}

/// Compact JSON in which no string holds a raw character that could act on the terminal it is shown on. serde_json
/// itself escapes C0 controls, quotes and backslashes only.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Nearly all are of these characters, of which none is hostile and none needs an escape: the caller escapes quotes,
        // backslashes and C0 controls, and hands over what is between them. No early end, so that it takes many bytes at a time.
        let is_plain = fragment
            .bytes()
            .fold(true, |plain, byte| plain & (byte < 0x7f));
        if is_plain {
            return out.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        // Every hostile character that serde_json leaves is DEL or two bytes and more.
        while let Some((at, hostile)) = rest
            .char_indices()
            .find(|(_, character)| is_hostile(*character))
        {
            CompactFormatter.write_string_fragment(out, &rest[..at])?;
            for unit in hostile.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + hostile.len_utf8()..];
        }
        CompactFormatter.write_string_fragment(out, rest)
    }
}
