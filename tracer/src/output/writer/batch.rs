//! The writer's thread, which formats lines into batches of text and writes them.

use std::io::{self, Write};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use crate::filter::containers;
use crate::output::json;
use crate::output::ladder::{EndpointPair, write_joined_ladder, write_ladder};
use crate::output::table::CloseTable;
use crate::output::terminal::Size;
use crate::output::transition::TransitionTable;
use crate::output::write_all::write_all;
use crate::record::Record;
use tcpclose_core::finding::Finding;

use super::end::WriterEnd;
use super::options::{Line, Options, View};
use crate::output::Format;

/// The size in bytes at which a batch is written: a pipe's default capacity.
const BATCH_BYTES: usize = 64 * 1024;
/// The fewest lines between two headers, on a terminal of however few rows.
const MIN_LINES_BETWEEN_HEADERS: usize = 10;

/// How many lines the writer has dealt with.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Those that are written, or not wanted.
    pub done: AtomicU64,
    /// Those that are wanted.
    pub shown: AtomicU64,
}

/// Formats lines into a batch of text.
pub(super) struct Formatter {
    format: Format,
    options: Options,
    closes: CloseTable,
    transitions: TransitionTable,
    /// The number of lines after which the terminal no longer shows the last header; `None` where
    /// there is no terminal.
    screenful: Option<usize>,
    since_header: usize,
}

impl Formatter {
    pub(super) fn new(format: Format, options: Options) -> Self {
        Self {
            format,
            closes: CloseTable::new(None, options.table),
            transitions: TransitionTable::default(),
            options,
            screenful: None,
            since_header: 0,
        }
    }

    /// Appends the titles of the columns, if there are any.
    fn write_header(&mut self, batch: &mut Vec<u8>) {
        self.since_header = 0;
        match (self.format, self.options.view) {
            (Format::Json, _) | (_, View::Ladders) => {}
            (Format::Table, View::Transitions) => self.transitions.write_header(batch),
            (Format::Table, View::Closes) => self.closes.write_header(batch),
        }
    }

    /// Takes over the present size of the terminal, before a batch.
    fn fit_terminal(&mut self) {
        let size = (self.options.terminal)();
        self.screenful = size.filter(|size| size.rows > 0).map(|Size { rows, .. }| {
            // The header and the cursor have a row each.
            let lines = usize::from(rows).saturating_sub(2);
            lines.max(MIN_LINES_BETWEEN_HEADERS)
        });
        if self.closes.set_width(size.map(|size| size.columns)) {
            // Titles of the old layout do not fit.
            self.since_header = usize::MAX;
        }
    }

    /// Appends the text of a line, with a header before it where the terminal shows none. Appends
    /// nothing if the line is not wanted.
    fn write_line(&mut self, batch: &mut Vec<u8>, line: &Line) -> io::Result<()> {
        if !self.is_wanted(line) {
            return Ok(());
        }
        if self
            .screenful
            .is_some_and(|lines| self.since_header >= lines)
        {
            self.write_header(batch);
        }
        let start = batch.len();
        self.format_line(batch, line)?;
        if self.screenful.is_some() {
            let text = batch.get(start..).unwrap_or_default();
            let lines = text.iter().filter(|byte| **byte == b'\n').count();
            self.since_header = self.since_header.saturating_add(lines);
        }
        Ok(())
    }

    fn format_line(&mut self, batch: &mut Vec<u8>, line: &Line) -> io::Result<()> {
        let Options {
            clock,
            cgroups,
            tally,
            view,
            table,
            json: json_options,
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
                json::write_record(batch, record, clock, cgroups.as_mut(), json_options)?;
            }
            (Format::Json, Line::Transition(raw)) => {
                json::write_transition(batch, &raw.transition, raw.time_in_old_state, clock)?;
            }
            (_, Line::Record(Record::Finding(Finding::Close(close)))) if *view == View::Ladders => {
                write_ladder(batch, close, clock, table.symbols);
            }
            (_, Line::Record(Record::Finding(Finding::Close(close)))) => {
                self.closes.write_close(batch, close, clock);
            }
            (_, Line::Record(Record::Finding(Finding::TimeWait(time_wait)))) => {
                self.closes.write_time_wait(batch, time_wait, clock);
            }
            (Format::Table, Line::BothEndpoints(ends)) => {
                let [one, other] = &**ends;
                let ends = EndpointPair::from_closes(one, other);
                write_joined_ladder(batch, &ends, clock, table.symbols);
            }
            (Format::Json, Line::BothEndpoints(_)) => {}
            (Format::Table, Line::Stuck(group)) => self.closes.write_stuck(batch, group, clock),
            // Of these, JSON has a record for each socket.
            (Format::Json, Line::Stuck(_)) => {}
            (_, Line::Record(Record::Finding(Finding::Loss(_) | Finding::Stuck(_)))) => {}
            (_, Line::Record(Record::Summary(_) | Record::Rollup(_))) => {}
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
            Line::Record(Record::Summary(_) | Record::Rollup(_)) => true,
            Line::Record(Record::Finding(finding)) => {
                containers::passes(filter, finding, cgroups.as_mut())
            }
            Line::BothEndpoints(ends) => {
                let mut ends = ends.iter();
                ends.any(|end| containers::passes_close(filter, end, cgroups.as_mut()))
            }
            Line::Stuck(group) => containers::passes_stuck(filter, &group.latest, cgroups.as_mut()),
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
/// reached. Flushes whenever the channel is empty.
///
/// # Errors
/// Nothing more can be written, or the limit is reached.
pub(super) fn run(
    lines: &Receiver<(i64, Line)>,
    mut formatter: Formatter,
    mut out: impl Write,
    progress: &Progress,
) -> Result<(), WriterEnd> {
    let mut batch = Vec::with_capacity(BATCH_BYTES + BATCH_BYTES / 4);
    // Where in the batch the text of each line ends.
    let mut ends: Vec<usize> = Vec::new();
    formatter.fit_terminal();
    formatter.write_header(&mut batch);
    write_all(&mut out, &batch, |_| {})?;
    out.flush()?;
    while let Ok(first) = lines.recv() {
        batch.clear();
        ends.clear();
        formatter.fit_terminal();
        let mut next = Some(first);
        let mut is_last = false;
        while let Some((wall_clock, line)) = next {
            let start = batch.len();
            formatter.options.clock.set_offset(wall_clock);
            formatter.write_line(&mut batch, &line)?;
            if batch.len() == start {
                progress.done.fetch_add(1, Ordering::Release);
            } else {
                progress.shown.fetch_add(1, Ordering::Relaxed);
                ends.push(batch.len());
                is_last = formatter.is_last(&line);
            }
            let full = batch.len() >= BATCH_BYTES;
            next = if full || is_last {
                None
            } else {
                lines.try_recv().ok()
            };
        }
        let (mut position, mut ends) = (0, ends.iter().peekable());
        write_all(&mut out, &batch, |written| {
            position += written.len();
            while ends.next_if(|end| **end <= position).is_some() {
                progress.done.fetch_add(1, Ordering::Release);
            }
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
