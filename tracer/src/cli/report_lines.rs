//! `tcpclose report FILE` of JSON lines.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};

use crate::cgroup_names::RecordedCgroupNames;
use crate::clock_offset::ClockOffset;
use crate::filter::passes;
use crate::json_lines::{JsonLines, Line, LineCounts};
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::report::Facts;
use crate::plural::plural;
use tcpclose_core::filter::ConnectionFilter;

use super::common::EXIT_FAILED;

/// What is in a file of JSON lines.
pub(super) struct Gathered {
    pub facts: Facts,
    pub clock: WallClock,
    pub cgroups: RecordedCgroupNames,
    /// What the reader of the page has to know.
    pub notes: Vec<String>,
    pub code: ExitCode,
}

/// Opens a file of JSON lines; `None` if it has none.
pub(super) fn open(file: &Path) -> anyhow::Result<Option<JsonLines<BufReader<File>>>> {
    let cannot = || format!("{} cannot be read", file.display());
    let mut input = BufReader::new(File::open(file).with_context(cannot)?);
    let begin = input.fill_buf().with_context(cannot)?;
    let has_lines = JsonLines::<&[u8]>::are_in(begin);
    Ok(has_lines.then(|| JsonLines::new(input)))
}

/// Gathers what the lines have.
pub(super) fn gather(
    mut lines: JsonLines<BufReader<File>>,
    filter: &ConnectionFilter,
    file: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<Gathered> {
    let mut facts = Facts::default();
    // The lines have the times of the clock.
    let clock = WallClock::new(ClockOffset::new(0));
    let mut cgroups = lines.cgroups();
    let cannot = || format!("{} cannot be read", file.display());
    while let Some(line) = lines.next_line().with_context(cannot)? {
        if stop.load(Ordering::Relaxed) {
            bail!("stopped before the page was written");
        }
        match line {
            Line::Finding(finding) => {
                if passes(filter, &finding, &mut cgroups) {
                    facts.add(&finding, &clock);
                }
            }
            Line::Stuck(stuck) if filter.is_all() => {
                facts.add_stuck_line(stuck.id, stuck.at, stuck.what);
            }
            Line::Stuck(_) => {}
        }
    }
    let counts = lines.counts();
    let mut notes = notes_on(counts);
    if !filter.is_all() {
        notes.push("Stuck sockets are not shown with filters.".to_owned());
    }
    let mut code = ExitCode::SUCCESS;
    if let Some(first) = counts.first_broken {
        let broken = counts.broken;
        let records = plural(broken, "line is no record", "lines are no records");
        notice!(
            "{}: {broken} {records}, line {first} is the first",
            file.display()
        );
        code = ExitCode::from(EXIT_FAILED);
    }
    Ok(Gathered {
        facts,
        clock,
        cgroups,
        notes,
        code,
    })
}

/// What JSON lines do not hold, and what of them could not be read.
fn notes_on(counts: LineCounts) -> Vec<String> {
    let LineCounts {
        lines,
        broken,
        first_broken,
        other_kinds,
        other_versions,
    } = counts;
    let mut notes = vec![format!(
        "It was made from {lines} JSON {}: what their output did not write (by its kinds, filters \
         and limits), and before and after them, is missing.",
        plural(lines, "line", "lines")
    )];
    if let Some(first) = first_broken {
        notes.push(format!(
            "{broken} {}, of which line {first} is the first.",
            plural(broken, "line is no record", "lines are no records")
        ));
    }
    if other_kinds > 0 {
        notes.push(format!(
            "{other_kinds} {} of other kinds, such as summaries, {} not shown.",
            plural(other_kinds, "record", "records"),
            plural(other_kinds, "is", "are")
        ));
    }
    if other_versions > 0 {
        notes.push(format!(
            "{other_versions} {} of another version of the JSON {} not read.",
            plural(other_versions, "record", "records"),
            plural(other_versions, "is", "are")
        ));
    }
    notes
}
