//! Writes reports to stdout, and what could not be looked at to stderr.

use std::collections::HashSet;
use std::io::{self, IsTerminal, Write};

use anyhow::Context;

use crate::notice::notice;
use crate::output::cgroup_names::CgroupNames;
use crate::output::clock::WallClock;
use crate::output::json::write_finding;
use crate::output::leaks::{Changed, LeakTable, total};
use crate::stuck::{CoverageGap, Report, Resolved};
use tcpclose_core::finding::{Finding, Stuck};
use tcpclose_core::stuck::{Leak, StuckEvent};

/// Bytes gathered before they are written.
const CHUNK: usize = 64 * 1024;

/// Gaps that are told while watching; each may be another process.
const GAPS_SAID: usize = 64;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people
    Table,
    /// JSON lines: one object a line
    Json,
}

/// Whether anybody still reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Fully,
    NobodyReads,
}

pub(super) struct Printer {
    format: Format,
    table: LeakTable,
    watching: bool,
    clock: WallClock,
    cgroups: Box<dyn CgroupNames>,
    last: Option<Report>,
    said: HashSet<String>,
    /// Something that matters could not be looked at this time.
    blind: bool,
}

impl Printer {
    pub(super) fn new(
        format: Format,
        every_socket: bool,
        watching: bool,
        clock: WallClock,
        cgroups: Box<dyn CgroupNames>,
    ) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = io::stdout().is_terminal() && !plain;
        Self {
            format,
            table: LeakTable {
                every_socket,
                colours,
            },
            watching,
            clock,
            cgroups,
            last: None,
            said: HashSet::new(),
            blind: false,
        }
    }

    /// Says each gap once, and while watching not for ever more of them. Returns whether nothing that matters is missing.
    pub(super) fn say_blind(&mut self, blind: &[CoverageGap]) -> bool {
        let most = if self.watching { GAPS_SAID } else { usize::MAX };
        for CoverageGap { text, .. } in blind {
            if self.said.len() >= most || !self.said.insert(text.clone()) {
                continue;
            }
            notice!("{text}");
            if self.said.len() == most {
                notice!("further gaps are not told: look again without --watch");
            }
        }
        self.blind = blind.iter().any(|blind| blind.matters);
        !self.blind
    }

    /// # Errors
    /// Writing to stdout failed.
    pub(super) fn show(
        &mut self,
        report: Report,
        resolved: Vec<Resolved>,
    ) -> anyhow::Result<Shown> {
        self.clock.refresh();
        let written = match self.format {
            Format::Table => self.write_table(&report, &resolved),
            Format::Json => self.write_json(&report, &resolved),
        };
        self.last = self.watching.then_some(report);
        shown(written)
    }

    /// Writes one finding as JSON, as it is.
    ///
    /// # Errors
    /// Writing to stdout failed.
    pub(super) fn show_finding(&mut self, finding: &Finding) -> anyhow::Result<Shown> {
        self.clock.refresh();
        let mut line = Vec::new();
        let written = write_finding(&mut line, finding, &self.clock, self.cgroups.as_mut());
        shown(written.and_then(|()| io::stdout().lock().write_all(&line)))
    }

    fn write_table(&mut self, report: &Report, resolved: &[Resolved]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let table = self.table.write(report, self.cgroups.as_mut());
        let of = match self.blind {
            true => " (not everything could be looked at)",
            false => "",
        };
        let is_new = |leak: &&Leak| leak.event == StuckEvent::Opened && leak.verdict.is_stuck();
        let changed = self.last.as_ref().map(|last| Changed {
            opened: report.leaks.iter().filter(is_new).count(),
            resolved: resolved.len(),
            since: report.at - last.at,
        });
        let headline = total(report, changed);
        if self.watching {
            let time = self.clock.time_of_day(report.at);
            writeln!(out, "{time}  {headline}{of}\n{table}")?;
        } else {
            writeln!(out, "{table}{headline}{of}")?;
        }
        out.flush()
    }

    fn write_json(&mut self, report: &Report, resolved: &[Resolved]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let mut chunk = Vec::with_capacity(CHUNK);
        let mut write = |stuck: Stuck| -> io::Result<()> {
            let finding = Finding::Stuck(Box::new(stuck));
            write_finding(&mut chunk, &finding, &self.clock, self.cgroups.as_mut())?;
            if chunk.len() >= CHUNK {
                out.write_all(&chunk)?;
                chunk.clear();
            }
            Ok(())
        };
        if let Some(last) = &self.last {
            for resolved in resolved {
                write(last.resolved(resolved))?;
            }
        }
        // While watching, only changes are told after the first look.
        let told = report
            .groups
            .iter()
            .flat_map(|group| &group.leaks)
            .map(|&at| &report.leaks[at]);
        for leak in told.filter(|leak| {
            self.last.is_none() || leak.event == StuckEvent::Opened && leak.verdict.is_stuck()
        }) {
            write(report.finding(leak, report.at))?;
        }
        out.write_all(&chunk)?;
        out.flush()
    }
}

fn shown(written: io::Result<()>) -> anyhow::Result<Shown> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Shown::NobodyReads),
        written => written
            .map(|()| Shown::Fully)
            .context("writing to stdout failed"),
    }
}
