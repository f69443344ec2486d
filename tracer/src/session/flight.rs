//! Feeds the flight recorder: the core's inputs, and at the beginning of each segment what the core
//! knows.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::cgroups_of::cgroups_of;
use super::event_loop::Session;
use super::live::Live;
use crate::flight_recorder::{FlightRecorder, SegmentStart};
use crate::metrics::FlightCounts;
use crate::recording::{EntryRef, Head};
use crate::summary::IntervalEnd;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, SaveScope, Tracker};
use tcpclose_sys::host::cgroup_paths::CgroupPaths;
use tcpclose_sys::host::shared_cgroup_names::MAX_CGROUP_NAMES;

/// The most endpoints at the beginning of a segment: some 30 ms of the loop's time.
const MAX_SAVED: usize = 1 << 17;

/// How long the last entries may take at the end.
const FINISH_TIMEOUT: Duration = Duration::from_secs(1);

/// A flight recorder, and the cgroups whose names its segment has.
pub(super) struct FlightRecording {
    recorder: FlightRecorder,
    paths: CgroupPaths,
    /// The names that were looked up.
    names: HashMap<u64, Option<String>>,
    /// The cgroups whose names are in the segment.
    named: HashSet<u64>,
    wall_clock: Option<i64>,
    /// The number of dropped entries at the last input.
    dropped: u64,
}

impl FlightRecording {
    fn new(recorder: FlightRecorder) -> Self {
        Self {
            recorder,
            paths: CgroupPaths::new(),
            names: HashMap::new(),
            named: HashSet::new(),
            wall_clock: None,
            dropped: 0,
        }
    }

    /// Records an input, after the names of the cgroups in it.
    pub fn input(&mut self, input: &Input) {
        let dropped = self.recorder.dropped();
        if dropped != std::mem::replace(&mut self.dropped, dropped) {
            // The names and the offset may have been among the dropped entries.
            self.named.clear();
            if let Some(offset) = self.wall_clock {
                self.recorder.entry(EntryRef::WallClock(offset));
            }
        }
        cgroups_of(input, |id| {
            if self.named.insert(id)
                && let Some(path) = name(&mut self.names, &mut self.paths, id)
            {
                self.recorder.entry(EntryRef::Cgroup { id, path });
            }
        });
        self.recorder.input(input);
    }

    /// Records the wall clock's offset if it has changed.
    pub fn wall_clock(&mut self, offset: i64) {
        if self.wall_clock.replace(offset) != Some(offset) {
            self.recorder.entry(EntryRef::WallClock(offset));
        }
    }

    pub fn interval_end(&mut self, end: &IntervalEnd) {
        self.recorder.entry(EntryRef::IntervalEnd(end));
    }

    /// Begins the next segment if it is time: all inputs up to `now` have been taken.
    pub fn advance(&mut self, tracker: &Tracker, now: Nanos) {
        if self.recorder.wants_segment(now) {
            self.begin_segment(tracker, now);
        }
    }

    fn begin_segment(&mut self, tracker: &Tracker, at: Nanos) {
        let saved = tracker.save(SaveScope::ToResume, MAX_SAVED);
        let listening = tracker.listening();
        self.named.clear();
        let owners = saved.parts.iter().flat_map(|part| part.owners());
        let owners = owners.chain(listening.iter().filter_map(|socket| socket.owner.as_ref()));
        let mut cgroups = Vec::new();
        for id in owners.filter_map(|owner| Some(owner.cgroup?.get())) {
            if self.named.insert(id)
                && let Some(path) = name(&mut self.names, &mut self.paths, id)
            {
                cgroups.push((id, path.to_owned()));
            }
        }
        self.recorder.begin_segment(SegmentStart {
            at,
            wall_clock: self.wall_clock,
            cgroups,
            listening,
            saved,
        });
    }

    pub fn next_flush(&self) -> Option<Nanos> {
        self.recorder.next_flush()
    }

    /// Writes what was collected, in a bounded time.
    pub fn finish(self) {
        self.recorder.finish(Instant::now() + FINISH_TIMEOUT);
    }
}

/// Returns a cgroup's name, as it was when it was first looked up.
fn name<'a>(
    names: &'a mut HashMap<u64, Option<String>>,
    paths: &mut CgroupPaths,
    id: u64,
) -> Option<&'a str> {
    if names.len() >= MAX_CGROUP_NAMES {
        names.clear();
    }
    let name = names.entry(id).or_insert_with(|| paths.path(id));
    name.as_deref()
}

impl Session<Live> {
    /// Returns the head of recordings of this session.
    pub const fn recorded_head(&self) -> &Head {
        self.core.head()
    }

    /// Records everything from now on with a flight recorder, too.
    pub fn start_flight_recorder(&mut self, recorder: FlightRecorder, now: Nanos) {
        let mut flight = FlightRecording::new(recorder);
        flight.wall_clock = Some(self.clock.get());
        flight.begin_segment(self.core.tracker(), now);
        *self.core.flight() = Some(flight);
    }

    /// Returns the flight recorder, if there is one.
    pub fn flight_recorder(&mut self) -> Option<&mut FlightRecorder> {
        let flight = self.core.flight().as_mut();
        flight.map(|flight| &mut flight.recorder)
    }

    /// Returns what the flight recorder has done; `None` without one.
    pub fn flight_counts(&self) -> Option<FlightCounts> {
        self.core
            .flight_ref()
            .map(|flight| flight.recorder.counts())
    }
}
