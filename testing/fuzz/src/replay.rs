//! The entries of a recording, through the core and into the outputs.

use tcpclose::cgroup_names::NoCgroups;
use tcpclose::clock_offset::ClockOffset;
use tcpclose::output::clock::WallClock;
use tcpclose::output::json;
use tcpclose::output::stuck_digest::StuckGroup;
use tcpclose::output::table::{CloseTable, TableOptions};
use tcpclose::recording::Entry;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, Tracker};

thread_local! {
    /// Reading the time zone takes longer than all the rest.
    static CLOCK: WallClock = WallClock::new(ClockOffset::new(0));
}

/// The first byte says which core it is; entries follow.
pub fn replay(data: &[u8]) {
    let Some((&rules, mut rest)) = data.split_first() else {
        return;
    };
    let mut tracker = tracker(rules);
    let mut outputs = Outputs::new();
    while let Ok((entry, behind)) = postcard::take_from_bytes::<Entry>(rest) {
        rest = behind;
        match entry {
            Entry::Input(input) => take(&mut tracker, &input),
            Entry::WallClock(offset) => outputs.clock.set_offset(offset),
            Entry::Cgroup { .. } | Entry::IntervalEnd(_) => {}
        }
        while let Some(finding) = tracker.next_finding() {
            outputs.write(&finding);
        }
    }
}

fn tracker(rules: u8) -> Tracker {
    let has = |bit: u8| rules & (1 << bit) != 0;
    let mut tracker = Tracker::new(if has(0) { 2 } else { 1000 });
    if has(1) {
        tracker = tracker.with_hooks();
    }
    if has(2) {
        tracker = tracker.with_segments();
    }
    if has(3) {
        tracker = tracker.with_port_filter();
    }
    if has(4) {
        tracker = tracker.with_stuck_after(Nanos::from_secs(60));
    }
    if has(5) {
        tracker = tracker.with_drops();
    }
    tracker
}

/// As the session does: with each time the core's questions are due.
fn take(tracker: &mut Tracker, input: &Input) {
    tracker.apply(input);
    if let Input::Time(now) = input {
        tracker.due_probes(*now, &mut Vec::new());
        tracker.due_polls(*now, &mut Vec::new());
        tracker.due_stuck_probes(*now, &mut Vec::new());
        let _ = tracker.next_deadline();
    }
}

struct Outputs {
    clock: WallClock,
    table: CloseTable,
    line: Vec<u8>,
}

impl Outputs {
    fn new() -> Self {
        Self {
            clock: CLOCK.with(WallClock::clone),
            table: CloseTable::new(Some(120), TableOptions::default()),
            line: Vec::new(),
        }
    }

    fn write(&mut self, finding: &Finding) {
        let line = &mut self.line;
        line.clear();
        json::write_finding(line, finding, &self.clock, &mut NoCgroups).expect("it has a form");
        let record: serde_json::Value = serde_json::from_slice(line).expect("it is JSON");
        assert!(record["kind"].is_string(), "{record}");
        assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1)
        );

        line.clear();
        match finding {
            Finding::Close(close) => self.table.write_close(line, close, &self.clock),
            Finding::TimeWait(ended) => self.table.write_time_wait(line, ended, &self.clock),
            Finding::Stuck(stuck) => {
                let group = StuckGroup {
                    at: stuck.at,
                    latest: stuck.clone(),
                    stuck: 1,
                    oldest: Some(stuck.age),
                    resolved: 0,
                };
                self.table.write_stuck(line, &group, &self.clock);
            }
            Finding::Loss(_) => return,
        }
        let text = std::str::from_utf8(line).expect("it is UTF-8");
        let text = text.strip_suffix('\n').expect("it ends with a line");
        for line in text.lines() {
            assert!(!line.chars().any(char::is_control), "{text:?}");
        }
    }
}
