//! Writes routes to stdout, and what could not be inspected to stderr.

use std::io;

use super::args::PortsArgs;
use crate::cli::common::PrintOutcome;
use crate::cli::scan_printer::{LineChunks, ScanPrinter};
use crate::clock_offset::ClockOffset;
use crate::coverage::CoverageGap;
use crate::output::clock::WallClock;
use crate::output::json::write_route;
use crate::output::routes::{RouteTable, headline};
use crate::output::{Format, terminal};
use tcpclose_core::routes::RoutesReport;

/// Prints reports, each in full.
pub(super) struct RoutesPrinter {
    format: Format,
    table: RouteTable,
    offset: ClockOffset,
    clock: WallClock,
    printer: ScanPrinter,
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
            clock: WallClock::new(offset.clone()),
            offset,
            printer: ScanPrinter::new(watching),
        }
    }

    /// Prints the gaps of a scan. Returns whether nothing that matters is missing.
    pub(super) fn print_gaps(&mut self, gaps: &[CoverageGap]) -> bool {
        self.printer.print_gaps(gaps)
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
        let table = self.table.write(report);
        let time = self.clock.time_of_day(report.at);
        self.printer.write_table(&headline(report), &table, time)
    }

    fn write_json(&mut self, report: &RoutesReport) -> io::Result<()> {
        let mut lines = LineChunks::new();
        for route in &report.routes {
            lines.push(|chunk| write_route(chunk, route, &self.clock))?;
        }
        lines.finish()
    }
}
