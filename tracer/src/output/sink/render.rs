//! A finding as text, for the outputs that carry the JSON records themselves.

use std::fs::File;
use std::sync::Arc;

use serde_json::Value;

use crate::clock_offset::ClockOffset;
use crate::output::cgroup_names::{CgroupNames, NoCgroups};
use crate::output::clock::WallClock;
use crate::output::json;
use crate::record::Record;

/// What turning findings into records takes besides the findings.
pub struct RenderContext {
    /// Turns the kernel's times into wall time.
    pub clock: WallClock,
    /// Names the owners' cgroups. Asked in the output's thread.
    pub cgroups: Box<dyn CgroupNames>,
    /// Kept as long as the output: who holds it keeps others away.
    pub lock: Option<Arc<File>>,
}

impl Default for RenderContext {
    /// The host's clock, and no names of cgroups.
    fn default() -> Self {
        Self {
            clock: WallClock::new(ClockOffset::measured()),
            cgroups: Box::new(NoCgroups),
            lock: None,
        }
    }
}

impl RenderContext {
    /// Appends the finding's JSON record as a line.
    pub(super) fn write_line(&mut self, lines: &mut Vec<u8>, record: &Record) {
        json::write_record(lines, record, &self.clock, self.cgroups.as_mut())
            .expect("memory takes what is written, and every value has a JSON form");
    }

    /// The finding's JSON record. Names in it are as they are.
    pub(super) fn value(&mut self, record: &Record) -> Value {
        json::value_of(record, &self.clock, self.cgroups.as_mut())
            .expect("every value has a JSON form")
    }
}
