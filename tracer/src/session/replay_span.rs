//! Segments of a flight recorder as a source, and their copy as a recording.

use std::path::Path;

use anyhow::Context as _;

use super::entries::Entries;
use super::event_loop::Session;
use super::replay::Replay;
use super::source::Source as _;
use crate::flight_recorder::{Span, SpanReader};
use crate::recording::{Entry, EntryRef, Head, IfExists, Recorded, Recorder};
use tcpclose_core::finding::{Loss, LossLocation};
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, SaveScope};

impl Session<Replay> {
    /// Opens segments, and goes on to the beginning of the span: what was found before is left out.
    ///
    /// # Errors
    /// There are no segments, or the folder cannot be read.
    pub fn open_span(span: &Span) -> anyhow::Result<Self> {
        let folder = span.folder.display();
        let reader = SpanReader::open(span)
            .with_context(|| format!("the flight recorder in {folder} cannot be read"))?;
        let mut session = Self::with_entries(Entries::Span(Box::new(reader)));
        let from = span.from.unwrap_or_default();
        while session.source.now() < from && !session.has_ended() {
            // Those of the step that reaches the beginning are kept.
            while session.core.next_finding().is_some() {}
            let _ = session.take_interval_end();
            let (source, core, clock) = (&mut session.source, &mut session.core, &session.clock);
            let _ = source.pump(core, clock, None)?;
        }
        Ok(session)
    }

    /// Returns when the segments begin that are read.
    #[must_use]
    pub fn span_began(&self) -> Option<Nanos> {
        match self.source.entries() {
            Entries::Span(reader) => Some(reader.began()),
            Entries::File(_) => None,
        }
    }

    /// Returns whether a segment cannot be read at all.
    #[must_use]
    pub fn has_unreadable_segment(&self) -> bool {
        matches!(self.source.entries(), Entries::Span(reader) if reader.has_unreadable())
    }

    /// Returns whether the segments lack something that was asked for, as far as is known before
    /// they are read.
    #[must_use]
    pub fn is_span_incomplete(&self) -> bool {
        matches!(self.source.entries(), Entries::Span(reader) if reader.is_incomplete())
    }

    /// Returns sentences about what the segments lack; all of them once the end was read.
    #[must_use]
    pub fn span_notes(&self) -> Vec<String> {
        match self.source.entries() {
            Entries::Span(reader) => reader.notes(),
            Entries::File(_) => Vec::new(),
        }
    }

    /// Writes what follows as a recording of its own, which begins with what is known now. What
    /// cannot be read is a loss in it.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn copy_to(
        &mut self,
        file: &Path,
        if_exists: IfExists,
        is_stopped: impl Fn() -> bool,
    ) -> anyhow::Result<Recorded> {
        let cannot = || format!("{} cannot be written", file.display());
        let head = Head {
            segment: None,
            ..self.head().clone()
        };
        let recorder = Recorder::prepare(file, if_exists, &head).with_context(cannot)?;
        let mut recorder = recorder.waiting();
        recorder.begin().with_context(cannot)?;
        let at = self.source.now();
        if at > Nanos(0) {
            self.copy_known(&mut recorder, at);
        }
        while !is_stopped() && !recorder.has_failed() {
            match self.source.next_entry() {
                Ok(Some(entry)) => push(&mut recorder, &entry),
                Ok(None) => break,
                // Where no entries follow, none need to know of those that are missing.
                Err(true) => recorder.input(&Input::Loss(Loss {
                    at: self.source.now(),
                    lost: 1,
                    location: LossLocation::Recording,
                    repaired: false,
                    duration: None,
                })),
                Err(false) => {}
            }
        }
        recorder.finish().with_context(cannot)
    }

    /// Writes what is known now.
    fn copy_known(&self, recorder: &mut Recorder, at: Nanos) {
        recorder.entry(EntryRef::WallClock(self.source.wall_clock()));
        for (id, path) in self.cgroups().all() {
            recorder.entry(EntryRef::Cgroup { id, path: &path });
        }
        let tracker = self.core.tracker();
        let sockets = tracker.listening();
        let mut inputs = vec![Input::StartOver, Input::Snapshot { sockets, at }];
        let saved = tracker.save(SaveScope::ToResume, usize::MAX);
        let parts = saved.parts.into_iter();
        inputs.extend(parts.map(|saved| Input::Resume { saved, at }));
        inputs.push(Input::Time(at));
        inputs.iter().for_each(|input| recorder.input(input));
    }
}

fn push(recorder: &mut Recorder, entry: &Entry) {
    match entry {
        Entry::Input(input) => recorder.input(input),
        Entry::WallClock(offset) => recorder.entry(EntryRef::WallClock(*offset)),
        Entry::Cgroup { id, path } => recorder.entry(EntryRef::Cgroup { id: *id, path }),
        Entry::IntervalEnd(end) => recorder.entry(EntryRef::IntervalEnd(end)),
    }
}
