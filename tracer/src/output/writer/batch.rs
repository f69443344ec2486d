//! The writer's thread, which formats lines into batches of text and writes them.

use std::io::{self, Write};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use crate::filter::containers;
use crate::output::json;
use crate::output::ladder::write_ladder;
use crate::output::table::CloseTable;
use crate::output::transition::TransitionTable;
use crate::output::write_all::write_all;
use crate::record::Record;
use tcpclose_core::finding::Finding;

use super::end::WriterEnd;
use super::options::{Line, Options};
use crate::output::Format;

/// The size in bytes at which a batch is written: a pipe's default capacity.
const BATCH_BYTES: usize = 64 * 1024;

/// Formats lines into a batch of text.
pub(super) struct Formatter {
    format: Format,
    options: Options,
    closes: CloseTable,
    transitions: TransitionTable,
}

impl Formatter {
    pub(super) fn new(format: Format, options: Options) -> Self {
        Self {
            format,
            closes: CloseTable::new(options.width, options.colours),
            transitions: TransitionTable::default(),
            options,
        }
    }

    fn write_header(&mut self, batch: &mut Vec<u8>) {
        match self.format {
            Format::Table if self.options.ladders => {}
            Format::Table if self.options.transitions => self.transitions.write_header(batch),
            Format::Table => self.closes.write_header(batch),
            Format::Json => {}
        }
    }

    fn write_line(&mut self, batch: &mut Vec<u8>, line: &Line) -> io::Result<()> {
        if !self.is_wanted(line) {
            return Ok(());
        }
        let Options {
            clock,
            cgroups,
            tally,
            ladders,
            ..
        } = &mut self.options;
        if let (Some(tally), Line::Record(Record::Finding(Finding::Close(close)))) = (tally, line) {
            tally
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(close);
        }
        match (self.format, line) {
            (Format::Json, Line::Record(record)) => {
                json::write_record(batch, record, clock, cgroups.as_mut())?;
            }
            (Format::Json, Line::Transition(raw)) => {
                json::write_transition(batch, &raw.transition, raw.time_in_old_state, clock)?;
            }
            (_, Line::Record(Record::Finding(Finding::Close(close)))) if *ladders => {
                write_ladder(batch, close, clock);
            }
            (_, Line::Record(Record::Finding(Finding::Close(close)))) => {
                self.closes.write_close(batch, close, clock);
            }
            (_, Line::Record(Record::Finding(Finding::TimeWait(time_wait)))) => {
                self.closes.write_time_wait(batch, time_wait, clock);
            }
            (_, Line::Record(Record::Finding(Finding::Stuck(stuck)))) => {
                self.closes.write_stuck(batch, stuck, clock);
            }
            (_, Line::Record(Record::Finding(Finding::Loss(_)) | Record::Summary(_))) => {}
            (_, Line::Transition(raw)) => {
                self.transitions
                    .write_transition(batch, &raw.transition, raw.time_in_old_state);
            }
        }
        Ok(())
    }

    /// Returns whether a line passes the filter.
    fn is_wanted(&mut self, line: &Line) -> bool {
        let Options {
            containers: filter,
            cgroups,
            ..
        } = &mut self.options;
        match line {
            Line::Record(Record::Summary(_)) => true,
            Line::Record(Record::Finding(finding)) => {
                containers::passes(filter, finding, cgroups.as_mut())
            }
            Line::Transition(raw) => {
                containers::passes_transition(filter, &raw.transition, cgroups.as_mut())
            }
        }
    }

    /// Counts a line that is written; returns whether it is the last that was asked for.
    fn is_last(&mut self, line: &Line) -> bool {
        if matches!(line, Line::Record(Record::Finding(Finding::Loss(_)))) {
            return false;
        }
        let Some(left) = &mut self.options.limit else {
            return false;
        };
        *left = left.saturating_sub(1);
        *left == 0
    }
}

/// Writes the header, and then all lines until the sender of the channel is gone or the limit is
/// reached. Flushes whenever the channel is empty. `done` counts the lines that are written, or not
/// wanted.
///
/// # Errors
/// Nothing more can be written, or the limit is reached.
pub(super) fn run(
    lines: &Receiver<(i64, Line)>,
    mut formatter: Formatter,
    mut out: impl Write,
    done: &AtomicU64,
) -> Result<(), WriterEnd> {
    let mut batch = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4);
    formatter.write_header(&mut batch);
    write_all(&mut out, &batch, |_| {})?;
    out.flush()?;
    while let Ok(first) = lines.recv() {
        batch.clear();
        let mut next = Some(first);
        let mut is_last = false;
        while let Some((wall_clock, line)) = next {
            let start = batch.len();
            formatter.options.clock.set_offset(wall_clock);
            formatter.write_line(&mut batch, &line)?;
            if batch.len() == start {
                done.fetch_add(1, Ordering::Release);
            } else {
                is_last = formatter.is_last(&line);
            }
            let full = batch.len() >= BATCH_BYTES;
            next = if full || is_last {
                None
            } else {
                lines.try_recv().ok()
            };
        }
        let ends_drawing = formatter.options.ladders;
        let mut last = 0;
        write_all(&mut out, &batch, |written| {
            // A drawing ends with an empty line.
            let ends = written.iter().filter(|byte| {
                let before = std::mem::replace(&mut last, **byte);
                **byte == b'\n' && (!ends_drawing || before == b'\n')
            });
            done.fetch_add(ends.count() as u64, Ordering::Release);
        })?;
        if batch.len() < BATCH_BYTES {
            out.flush()?;
        }
        if is_last {
            out.flush()?;
            return Err(WriterEnd::LimitReached);
        }
    }
    out.flush()?;
    Ok(())
}
