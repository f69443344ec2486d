//! The writer's thread, which formats lines into batches of text and writes them.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use crate::output::json;
use crate::output::table::CloseTable;
use crate::output::transition::TransitionTable;
use crate::output::write_all::write_all;
use crate::record::Record;
use tcpclose_core::finding::Finding;

use super::{Format, Line, Options};

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
            Format::Table => self.closes.write_header(batch),
            Format::TransitionTable => self.transitions.write_header(batch),
            Format::Json => {}
        }
    }

    fn write_line(&mut self, batch: &mut Vec<u8>, line: &Line) -> io::Result<()> {
        let Options { clock, cgroups, .. } = &mut self.options;
        match (self.format, line) {
            (Format::Json, Line::Record(record)) => {
                json::write_record(batch, record, clock, cgroups.as_mut())?;
            }
            (Format::Json, Line::Transition(raw)) => {
                json::write_transition(batch, &raw.transition, raw.in_old, clock)?;
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
                    .write_transition(batch, &raw.transition, raw.in_old);
            }
        }
        Ok(())
    }
}

/// Writes the header, and then all lines until the sender of the channel is gone. Flushes whenever
/// the channel is empty. `done` counts the lines that are written.
pub(super) fn run(
    lines: &Receiver<(i64, Line)>,
    mut formatter: Formatter,
    mut out: impl Write,
    done: &AtomicU64,
) -> io::Result<()> {
    let mut batch = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4);
    formatter.write_header(&mut batch);
    write_all(&mut out, &batch, |_| {})?;
    out.flush()?;
    while let Ok(first) = lines.recv() {
        batch.clear();
        let mut next = Some(first);
        while let Some((wall_clock, line)) = next {
            let start = batch.len();
            formatter.options.clock.set_offset(wall_clock);
            formatter.write_line(&mut batch, &line)?;
            if batch.len() == start {
                done.fetch_add(1, Ordering::Release);
            }
            let full = batch.len() >= BATCH_BYTES;
            next = if full { None } else { lines.try_recv().ok() };
        }
        write_all(&mut out, &batch, |written| {
            let ends = written.iter().filter(|byte| **byte == b'\n').count();
            done.fetch_add(ends as u64, Ordering::Release);
        })?;
        if batch.len() < BATCH_BYTES {
            out.flush()?;
        }
    }
    out.flush()
}
