//! Writes reports to stdout, and what could not be inspected to stderr.

use std::io::{self, Write as _};

use crate::cgroup_names::CgroupNames;
use crate::cli::common::{OutputArgs, PrintOutcome};
use crate::cli::scan_printer::{LineChunks, ScanPrinter};
use crate::coverage::CoverageGap;
use crate::output::clock::WallClock;
use crate::output::json::write_stuck;
use crate::output::leaks::{LeakTable, headline};
use crate::output::{Format, terminal};
use tcpclose_core::stuck::{AgeCertainty, Report, StuckSocket};

/// Prints reports, each in full or as the changes since the last one.
pub(super) struct ReportPrinter {
    format: Format,
    table: LeakTable,
    clock: WallClock,
    cgroups: Box<dyn CgroupNames>,
    printer: ScanPrinter,
    /// Whether no agent has answered that would know ages.
    lacks_agent: bool,
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
                width: None,
            },
            clock,
            cgroups,
            printer: ScanPrinter::new(watching),
            lacks_agent: false,
        }
    }

    /// Prints the gaps of a scan. Returns whether nothing that matters is missing.
    pub(super) fn print_gaps(&mut self, gaps: &[CoverageGap]) -> bool {
        self.printer.print_gaps(gaps)
    }

    /// Has reports whose ages are estimates say that an agent would know them.
    pub(super) fn note_missing_agent(&mut self) {
        self.lacks_agent = true;
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
        self.table.width = terminal::width();
        let mut table = self.table.write(report, self.cgroups.as_mut());
        let is_estimated = |stuck: &StuckSocket| stuck.age.known == AgeCertainty::Estimated;
        if self.lacks_agent && report.stuck().any(is_estimated) {
            table.push_str(
                "~ marks an estimate; a running agent (`tcpclose agent`) knows such ages\n",
            );
        }
        let time = self.clock.time_of_day(report.at);
        self.printer.write_table(&headline(report), &table, time)
    }

    /// Writes every socket at first; while watching, then only what changes.
    fn write_json(&mut self, report: &Report) -> io::Result<()> {
        let mut lines = LineChunks::new();
        let mut write = |stuck: &StuckSocket| {
            lines.push(|chunk| write_stuck(chunk, stuck, &self.clock, self.cgroups.as_mut()))
        };
        for stuck in report.changes.iter().flat_map(|changes| &changes.resolved) {
            write(stuck)?;
        }
        let is_first = report.changes.is_none();
        let is_wanted = |stuck: &&StuckSocket| is_first || stuck.is_newly_stuck();
        for stuck in report.worst_first().filter(is_wanted) {
            write(stuck)?;
        }
        lines.finish()
    }
}
