//! Where everything goes into the core, one input after the other.

use super::recording::Recording;
use crate::recording::Head;
use tcpclose_core::event::{Event, Transition};
use tcpclose_core::finding::Finding;
use tcpclose_core::stuck::ProbeRequest;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, Lookup, PollRequest, Tracker};

/// A raw transition, for those who want to see every one.
pub struct RawTransition<'a> {
    /// The transition.
    pub transition: &'a Transition,
    /// How long the socket had been in the old state, where that was seen.
    pub dwell: Option<Nanos>,
}

/// What the core wants to be told.
#[derive(Debug, Default)]
pub(super) struct Questions {
    pub lookups: Vec<Lookup>,
    pub sweeps: Vec<PollRequest>,
    pub stuck: Vec<ProbeRequest>,
}

/// Returns a core that works by the settings of a recording's head, and has seen nothing yet.
#[must_use]
pub fn tracker_for(head: &Head) -> Tracker {
    let mut tracker = Tracker::new(head.capacity);
    if head.hooks {
        tracker = tracker.with_hooks();
    }
    if head.segments {
        tracker = tracker.with_segments();
    }
    if head.filters_ports {
        tracker = tracker.with_port_filter();
    }
    if let Some(after) = head.stuck_after {
        tracker = tracker.with_stuck_after(after);
    }
    tracker
}

/// The core, and the one way into it.
pub(super) struct CoreDriver {
    tracker: Tracker,
    questions: Questions,
    recording: Option<Recording>,
}

impl CoreDriver {
    /// What goes in is recorded too, if anybody records.
    pub fn new(head: &Head, recording: Option<Recording>) -> Self {
        Self {
            tracker: tracker_for(head),
            questions: Questions::default(),
            recording,
        }
    }

    pub fn recording(&mut self) -> &mut Option<Recording> {
        &mut self.recording
    }

    /// Takes one input. With each time the core's questions are due.
    pub fn take(&mut self, input: &Input) {
        if let Some(recording) = &mut self.recording {
            recording.input(input);
        }
        self.tracker.take(input);
        if let Input::Time(now) = input {
            let Questions {
                lookups,
                sweeps,
                stuck,
            } = &mut self.questions;
            self.tracker.due_probes(*now, lookups);
            self.tracker.due_polls(*now, sweeps);
            self.tracker.due_stuck_probes(*now, stuck);
        }
    }

    /// As [`Self::take`]; `each` sees a transition before the core does.
    pub fn take_showing(&mut self, input: &Input, each: &mut impl FnMut(&RawTransition<'_>)) {
        if let Input::Event(Event::Transition(transition)) = input {
            let known = self.tracker.in_state_since(transition.id);
            let dwell = known
                .filter(|(state, _)| *state == transition.old)
                .map(|(_, since)| transition.at - since);
            each(&RawTransition { transition, dwell });
        }
        self.take(input);
    }

    /// What was asked at the last time that was taken.
    pub fn take_questions(&mut self) -> Questions {
        std::mem::take(&mut self.questions)
    }

    pub fn tracker(&self) -> &Tracker {
        &self.tracker
    }

    pub fn next_deadline(&self) -> Option<Nanos> {
        let flush = self.recording.as_ref().and_then(Recording::next_flush);
        self.tracker.next_deadline().into_iter().chain(flush).min()
    }

    pub fn next_finding(&mut self) -> Option<Finding> {
        self.tracker.next_finding()
    }

    pub fn waiting_for_fin(&self) -> usize {
        self.tracker.waiting_for_fin()
    }
}
