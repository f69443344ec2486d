//! Records as JSON text, for the outputs that carry the JSON records themselves.

use std::fs::File;
use std::sync::Arc;

use serde_json::Value;

use crate::cgroup_names::{CgroupNames, NoCgroups};
use crate::clock_offset::ClockOffset;
use crate::output::clock::WallClock;
use crate::output::json::{self, JsonOptions};
use crate::record::Record;

/// What an output needs, besides the records, to render them.
pub struct RenderContext {
    /// Converts the kernel's times to wall time.
    pub clock: WallClock,
    /// Looks up the names of the owners' cgroups, in the output's thread.
    pub cgroups: Box<dyn CgroupNames>,
    /// A lock that keeps other agents from the destination as long as the output runs.
    pub lock: Option<Arc<File>>,
    /// What all records of the agent have in common.
    pub json: JsonOptions,
}

impl Default for RenderContext {
    /// Uses the host's clock, and no names of cgroups.
    fn default() -> Self {
        Self {
            clock: WallClock::new(ClockOffset::measured()),
            cgroups: Box::new(NoCgroups),
            lock: None,
            json: JsonOptions::default(),
        }
    }
}

impl RenderContext {
    /// Appends the JSON record as a line.
    pub(super) fn write_line(&mut self, lines: &mut Vec<u8>, record: &Record) {
        json::write_record(
            lines,
            record,
            &self.clock,
            self.cgroups.as_mut(),
            &self.json,
        )
        .expect("writing to memory cannot fail, and every value has a JSON form");
    }

    /// Returns the JSON record, with names unescaped.
    pub(super) fn value(&mut self, record: &Record) -> Value {
        json::to_value(record, &self.clock, self.cgroups.as_mut(), &self.json)
            .expect("every value has a JSON form")
    }
}
