//! Passes inputs to the core, one after the other, and records each of them where the session is
//! recorded.

use super::flight::FlightRecording;
use super::recording::Recording;
use crate::record::RawTransition;
use crate::recording::Head;
use tcpclose_core::event::Event;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, PollRequest, ProbeRequest, Tracker};

/// Called with each transition before the core takes it; `None` if no consumer shows transitions.
pub(crate) type OnTransition<'a> = Option<&'a mut dyn FnMut(&RawTransition)>;

/// The probes that the core requests.
#[derive(Debug, Default)]
pub(super) struct DueProbes {
    pub lookups: Vec<ProbeRequest>,
    pub polls: Vec<PollRequest>,
    pub stuck: Vec<ProbeRequest>,
}

/// Returns a new core with the settings of a recording's head.
#[must_use]
pub fn tracker_for(head: &Head) -> Tracker {
    let mut tracker = Tracker::new(head.capacity);
    if head.hooks {
        tracker = tracker.with_hooks();
    }
    if head.segments {
        tracker = tracker.with_segments();
    }
    if head.drops {
        tracker = tracker.with_drops();
    }
    if head.filters_ports {
        tracker = tracker.with_port_filter();
    }
    if let Some(after) = head.stuck_after {
        tracker = tracker.with_stuck_after(after);
    }
    tracker
}

/// The core, and the recording of its inputs.
pub(crate) struct CoreDriver {
    tracker: Tracker,
    due: DueProbes,
    recording: Option<Recording>,
    flight: Option<FlightRecording>,
    /// How the session traces.
    head: Head,
    /// Until when all records have been taken.
    time: Nanos,
}

impl CoreDriver {
    /// Returns a driver of a new core with the settings of `head`.
    pub(super) fn new(head: &Head, recording: Option<Recording>) -> Self {
        Self {
            tracker: tracker_for(head),
            due: DueProbes::default(),
            recording,
            flight: None,
            head: head.clone(),
            time: Nanos(0),
        }
    }

    pub(super) fn recording(&mut self) -> &mut Option<Recording> {
        &mut self.recording
    }

    pub(super) fn flight(&mut self) -> &mut Option<FlightRecording> {
        &mut self.flight
    }

    pub(super) const fn flight_ref(&self) -> Option<&FlightRecording> {
        self.flight.as_ref()
    }

    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Passes one input to the core. An input of the time also collects the probes that are due by
    /// then.
    pub(super) fn take(&mut self, input: &Input) {
        if let Some(recording) = &mut self.recording {
            recording.input(input);
        }
        if let Some(flight) = &mut self.flight {
            flight.input(input);
        }
        self.tracker.apply(input);
        if let Input::Time(now) = input {
            self.time = *now;
            if let Some(flight) = &mut self.flight {
                flight.advance(&self.tracker, *now);
            }
            let DueProbes {
                lookups,
                polls,
                stuck,
            } = &mut self.due;
            self.tracker.due_probes(*now, lookups);
            self.tracker.due_polls(*now, polls);
            self.tracker.due_stuck_probes(*now, stuck);
        }
    }

    /// Does as [`Self::take`], after passing a transition to `on_transition`.
    pub(super) fn take_and_show(&mut self, input: &Input, on_transition: &mut OnTransition<'_>) {
        if let Some(show) = on_transition
            && let Input::Event(Event::Transition(transition)) = input
        {
            let known = self.tracker.in_state_since(transition.id);
            let time_in_old_state = known
                .filter(|(state, _)| *state == transition.old)
                .map(|(_, since)| transition.at - since);
            show(&RawTransition {
                transition: *transition,
                time_in_old_state,
            });
        }
        self.take(input);
    }

    /// Takes the probes that have become due.
    pub(super) fn take_due(&mut self) -> DueProbes {
        std::mem::take(&mut self.due)
    }

    /// Takes the number of transitions that are missing without having been counted.
    pub(super) fn take_uncounted_losses(&mut self, now: Nanos) -> u64 {
        self.tracker.take_uncounted_losses(now)
    }

    /// Returns until when all records have been taken.
    pub(super) const fn time(&self) -> Nanos {
        self.time
    }

    pub(super) fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    /// Returns when the core or the recording next needs the time as an input.
    pub(super) fn next_deadline(&self) -> Option<Nanos> {
        let flush = self.recording.as_ref().and_then(Recording::next_flush);
        let flight = self.flight.as_ref().and_then(FlightRecording::next_flush);
        let deadlines = self.tracker.next_deadline().into_iter();
        deadlines.chain(flush).chain(flight).min()
    }

    /// Has the core report the closes that still wait for their peer's, as no more inputs follow.
    pub(super) fn end_waits(&mut self) {
        self.tracker.end_waits();
    }

    pub(super) fn next_finding(&mut self) -> Option<Finding> {
        self.tracker.next_finding()
    }
}
