//! `tcpclose report FILE`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use tokio::runtime::Handle;

use super::common::{PrintOutcome, if_exists, print};
use super::last::LastArgs;
use super::replay_common;
use super::report_lines::{self, Gathered};
use super::tracing::CLASSIC_TIER;
use crate::cgroup_names::RecordedCgroupNames;
use crate::escape::push_for_terminal;
use crate::filter::args::{CloseFilterArgs, FilterArgs};
use crate::filter::passes;
use crate::notice::notice;
use crate::output::clock::WallClock;
use crate::output::report::{Facts, Recorded, Source, page};
use crate::recording::{Destination, RecordedTier};
use crate::session::{Consumer, Replay, Session};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::Finding;

const AFTER_HELP: &str = "\
Examples:
  tcpclose record yesterday.rec           record until Ctrl-C
  tcpclose report yesterday.rec           write report.html
  tcpclose report --last 20m              what the agent's flight recorder has
  tcpclose report yesterday.rec -o - nginx >nginx.html
  tcpclose report closes.jsonl            of JSON lines of `watch --json` or an agent

Exit codes: 0 success, 2 cannot run, wrong usage, a broken recording, or \
lines that are no records";

const FILTERED: &str = "Only what passes the filters of the command line is shown.";

/// What `tcpclose report` takes.
#[derive(Clone, clap::Args)]
#[command(after_help = AFTER_HELP)]
#[command(mut_arg("last", |arg| arg.help(
    "Make the page of what the agent's flight recorder has of this last time, such as 20m"
)))]
pub(super) struct ReportArgs {
    /// What `tcpclose record FILE` has recorded, or JSON lines that `watch --json` or an agent has
    /// written
    #[arg(
        value_name = "FILE",
        required_unless_present = "last",
        conflicts_with = "last"
    )]
    recording: Option<PathBuf>,
    #[command(flatten)]
    last: LastArgs,
    /// The page to write; `-` is stdout
    #[arg(short, long, value_name = "PAGE", default_value = "report.html")]
    output: PathBuf,
    /// Overwrite an existing page
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    filters: FilterArgs,
    #[command(flatten)]
    closes: CloseFilterArgs,
}

/// Makes one page of a recording.
pub(super) fn run(args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let args = args.clone();
    replay_common::until_stopped(move |stop| report(&args, stop))
}

fn report(args: &ReportArgs, stop: Arc<AtomicBool>) -> anyhow::Result<ExitCode> {
    if let Some(file) = &args.recording
        && let Some(lines) = report_lines::open(file)?
    {
        let page_file = PageFile::prepare(args)?;
        let filter = args.closes.add_to(args.filters.recorded()?);
        let Gathered {
            facts,
            clock,
            mut cgroups,
            mut notes,
            code,
        } = report_lines::gather(lines, &filter, file, &stop)?;
        if !filter.is_all() {
            notes.push(FILTERED.to_owned());
        }
        let source = Source {
            file: shown_name(file),
            recorded: None,
            notes,
        };
        page_file.write(&page(&facts, &source, &clock, &mut cgroups))?;
        return Ok(code);
    }
    let recorded = args.last.recorded(args.recording.as_ref());
    let recorded = recorded.context("name a recording, or --last TIME")?;
    let mut session = recorded.open()?;
    let page_file = PageFile::prepare(args)?;
    let filter = args.closes.add_to(args.filters.recorded()?);
    let mut notes = Vec::new();
    if session.head().seen == RecordedTier::Classic {
        notes.push(format!("It was recorded with {CLASSIC_TIER}."));
    }
    if !filter.is_all() {
        notes.push(FILTERED.to_owned());
    }
    notes.extend(args.filters.note_on_recordings().map(str::to_owned));
    let gatherer = Gatherer {
        facts: Facts::default(),
        filter,
        cgroups: RecordedCgroupNames::new(session.cgroups()),
        clock: WallClock::new(session.clock()),
        stop: Arc::clone(&stop),
    };
    let Gatherer {
        facts,
        mut cgroups,
        clock,
        ..
    } = Handle::current().block_on(session.run(gatherer))?;
    if stop.load(Ordering::Relaxed) {
        bail!("stopped before the page was written");
    }
    notes.extend(session.span_notes());
    notes.extend(session.damage().sentences());
    let head = session.head();
    let source = Source {
        file: shown_name(recorded.name()),
        recorded: Some(Recorded {
            kernel: &head.kernel,
            program: &head.program,
            stuck_after: head.stuck_after,
        }),
        notes,
    };
    let page = page(&facts, &source, &clock, &mut cgroups);
    page_file.write(&page)?;
    Ok(recorded.exit_code(&session, ExitCode::SUCCESS))
}

fn shown_name(file: &Path) -> String {
    let mut name = String::new();
    let file_name = file.file_name().unwrap_or(file.as_os_str());
    push_for_terminal(&mut name, file_name.as_encoded_bytes());
    name
}

/// Where the page goes. A file is created before the recording is read, as that takes a while, and
/// removed again if no page comes of it.
enum PageFile {
    Stdout,
    File(PathBuf, Destination),
}

impl PageFile {
    fn prepare(args: &ReportArgs) -> anyhow::Result<Self> {
        let path = &args.output;
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        let destination = Destination::prepare(path, if_exists(args.force))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self::File(path.clone(), destination))
    }

    fn write(self, page: &str) -> anyhow::Result<()> {
        match self {
            Self::Stdout => print(page).map(|_: PrintOutcome| ()),
            Self::File(path, destination) => {
                let written = destination
                    .begin()
                    .and_then(|mut file| file.write_all(page.as_bytes()));
                written.with_context(|| format!("cannot write {}", path.display()))?;
                notice!("{} is written", path.display());
                Ok(())
            }
        }
    }
}

/// Gathers the facts of a session.
struct Gatherer {
    facts: Facts,
    filter: ConnectionFilter,
    cgroups: RecordedCgroupNames,
    clock: WallClock,
    stop: Arc<AtomicBool>,
}

impl Consumer<Replay> for Gatherer {
    type Output = Self;

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        if passes(&self.filter, &finding, &mut self.cgroups) {
            // The recording says what time it is, and where the clock was set.
            self.clock.refresh();
            self.facts.add(&finding, &self.clock);
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn finish(self, _: &mut Session<Replay>) -> anyhow::Result<Self> {
        Ok(self)
    }
}
