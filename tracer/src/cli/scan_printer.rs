//! What the commands that scan have in common: gaps on stderr, reports on stdout.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write as _};

use super::gap_printer::GapPrinter;
use crate::coverage::CoverageGap;

/// The size of the output buffer in bytes.
const WRITE_CHUNK_LEN: usize = 64 * 1024;

/// Prints gaps and tables of scans.
pub(super) struct ScanPrinter {
    watching: bool,
    gaps: GapPrinter,
    /// Whether this scan could not inspect something that matters.
    incomplete: bool,
}

impl ScanPrinter {
    /// `watching`: further scans follow.
    pub fn new(watching: bool) -> Self {
        Self {
            watching,
            gaps: GapPrinter::new(watching),
            incomplete: false,
        }
    }

    /// Prints the gaps of a scan. Returns whether nothing that matters is missing.
    pub fn print_gaps(&mut self, gaps: &[CoverageGap]) -> bool {
        self.incomplete = !self.gaps.print(gaps);
        !self.incomplete
    }

    /// Writes a table with its headline below it; while watching, with the time and headline above.
    ///
    /// # Errors
    /// Returns an error if writing to stdout has failed.
    pub fn write_table(&self, headline: &str, table: &str, time: impl Display) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let of = match self.incomplete {
            true => " (not everything could be inspected)",
            false => "",
        };
        if self.watching {
            writeln!(out, "{time}  {headline}{of}\n{table}")?;
        } else {
            writeln!(out, "{table}{headline}{of}")?;
        }
        out.flush()
    }
}

/// Lines for stdout, written some at a time.
pub(super) struct LineChunks {
    out: StdoutLock<'static>,
    chunk: Vec<u8>,
}

impl LineChunks {
    /// Begins with no line.
    pub fn new() -> Self {
        Self {
            out: io::stdout().lock(),
            chunk: Vec::with_capacity(WRITE_CHUNK_LEN),
        }
    }

    /// Adds a line that `append` appends.
    ///
    /// # Errors
    /// Returns the error of `append`, or of writing to stdout.
    pub fn push(&mut self, append: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        append(&mut self.chunk)?;
        if self.chunk.len() >= WRITE_CHUNK_LEN {
            self.out.write_all(&self.chunk)?;
            self.chunk.clear();
        }
        Ok(())
    }

    /// Writes the remaining lines.
    ///
    /// # Errors
    /// Returns an error if writing to stdout has failed.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&self.chunk)?;
        self.out.flush()
    }
}
