//! Writes routes to stdout, and what could not be inspected to stderr.

use std::io::{self, Write as _};

use super::args::PortsArgs;
use crate::cli::common::PrintOutcome;
use crate::cli::gap_printer::GapPrinter;
use crate::clock_offset::ClockOffset;
use crate::coverage::CoverageGap;
use crate::output::clock::WallClock;
use crate::output::json::write_route;
use crate::output::routes::{RouteTable, headline};
use crate::output::{Format, terminal};
use tcpclose_core::routes::RoutesReport;

/// The size of the output buffer in bytes.
const WRITE_CHUNK_LEN: usize = 64 * 1024;

/// Prints reports, each in full.
pub(super) struct RoutesPrinter {
    format: Format,
    table: RouteTable,
    watching: bool,
    offset: ClockOffset,
    clock: WallClock,
    gaps: GapPrinter,
    /// Whether this scan could not inspect something that matters.
    incomplete: bool,
}

impl RoutesPrinter {
    pub(super) fn new(args: &PortsArgs) -> Self {
        let offset = ClockOffset::measured();
        let watching = args.watch.is_some();
        Self {
            format: args.output.format(),
            table: RouteTable {
                every_route: args.all,
                symbols: terminal::symbols(),
                width: terminal::width(),
                colours: args.output.has_colours(),
            },
            watching,
            clock: WallClock::new(offset.clone()),
            offset,
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
    pub(super) fn print(&mut self, report: &RoutesReport) -> anyhow::Result<PrintOutcome> {
        self.offset.refresh();
        self.clock.refresh();
        let written = match self.format {
            Format::Table => self.write_table(report),
            Format::Json => self.write_json(report),
        };
        PrintOutcome::from_write(written)
    }

    fn write_table(&mut self, report: &RoutesReport) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let table = self.table.write(report);
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

    fn write_json(&mut self, report: &RoutesReport) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut chunk = Vec::with_capacity(WRITE_CHUNK_LEN);
        for route in &report.routes {
            write_route(&mut chunk, route, &self.clock)?;
            if chunk.len() >= WRITE_CHUNK_LEN {
                out.write_all(&chunk)?;
                chunk.clear();
            }
        }
        out.write_all(&chunk)?;
        out.flush()
    }
}
