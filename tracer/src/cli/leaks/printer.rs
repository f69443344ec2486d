//! Writes reports to stdout, and what could not be inspected to stderr.

use std::io::{self, Write as _};

use crate::cgroup_names::CgroupNames;
use crate::cli::common::{OutputArgs, PrintOutcome};
use crate::cli::gap_printer::GapPrinter;
use crate::coverage::CoverageGap;
use crate::output::Format;
use crate::output::clock::WallClock;
use crate::output::json::write_stuck;
use crate::output::leaks::{LeakTable, headline};
use tcpclose_core::stuck::{Report, StuckSocket};

/// The size of the output buffer in bytes.
const WRITE_CHUNK_LEN: usize = 64 * 1024;

/// Prints reports, each in full or as the changes since the last one.
pub(super) struct ReportPrinter {
    format: Format,
    table: LeakTable,
    watching: bool,
    clock: WallClock,
    cgroups: Box<dyn CgroupNames>,
    gaps: GapPrinter,
    /// Whether this scan could not inspect something that matters.
    incomplete: bool,
}

impl ReportPrinter {
    pub(super) fn new(
        output: OutputArgs,
        every_socket: bool,
        watching: bool,
        clock: WallClock,
        cgroups: Box<dyn CgroupNames>,
    ) -> Self {
        Self {
            format: output.format(),
            table: LeakTable {
                every_socket,
                colours: output.has_colours(),
            },
            watching,
            clock,
            cgroups,
            gaps: GapPrinter::new(watching),
            incomplete: false,
        }
    }

    /// Prints the gaps of a scan. Returns whether nothing that matters is missing.
    pub(super) fn print_gaps(&mut self, gaps: &[CoverageGap]) -> bool {
        self.incomplete = !self.gaps.print(gaps);
        !self.incomplete
    }

    /// Writes a report.
    ///
    /// # Errors
    /// Returns an error if writing to stdout has failed.
    pub(super) fn print(&mut self, report: &Report) -> anyhow::Result<PrintOutcome> {
        self.clock.refresh();
        let written = match self.format {
            Format::Table => self.write_table(report),
            Format::Json => self.write_json(report),
        };
        PrintOutcome::from_write(written)
    }

    /// Writes one socket as JSON, as it is.
    ///
    /// # Errors
    /// Returns an error if writing to stdout has failed.
    pub(super) fn print_socket(&mut self, stuck: &StuckSocket) -> anyhow::Result<PrintOutcome> {
        self.clock.refresh();
        let mut line = Vec::new();
        let written = write_stuck(&mut line, stuck, &self.clock, self.cgroups.as_mut());
        PrintOutcome::from_write(written.and_then(|()| io::stdout().lock().write_all(&line)))
    }

    fn write_table(&mut self, report: &Report) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let table = self.table.write(report, self.cgroups.as_mut());
        let of = match self.incomplete {
            true => " (not everything could be inspected)",
            false => "",
        };
        let headline = headline(report);
        if self.watching {
            let time = self.clock.time_of_day(report.at);
            writeln!(out, "{time}  {headline}{of}\n{table}")?;
        } else {
            writeln!(out, "{table}{headline}{of}")?;
        }
        out.flush()
    }

    /// Writes every socket at first; while watching, then only what changes.
    fn write_json(&mut self, report: &Report) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut chunk = Vec::with_capacity(WRITE_CHUNK_LEN);
        let mut write = |stuck: &StuckSocket| -> io::Result<()> {
            write_stuck(&mut chunk, stuck, &self.clock, self.cgroups.as_mut())?;
            if chunk.len() >= WRITE_CHUNK_LEN {
                out.write_all(&chunk)?;
                chunk.clear();
            }
            Ok(())
        };
        for stuck in report.changes.iter().flat_map(|changes| &changes.resolved) {
            write(stuck)?;
        }
        let is_first = report.changes.is_none();
        let is_wanted = |stuck: &&StuckSocket| is_first || stuck.is_newly_stuck();
        for stuck in report.worst_first().filter(is_wanted) {
            write(stuck)?;
        }
        out.write_all(&chunk)?;
        out.flush()
    }
}
