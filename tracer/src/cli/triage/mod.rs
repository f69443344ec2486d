//! `tcpclose triage`: what is wrong on this host, from a short tracing session and two scans.

mod args;
mod consumer;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::common::{PrintOutcome, print, single_threaded_runtime, verdict_exit_code};
use super::last::Recorded;
use super::shutdown::Shutdown;
use super::tracing::CLASSIC_TIER;
use crate::cgroup_names::RecordedCgroupNames;
use crate::clock_offset::ClockOffset;
use crate::coverage::CoverageGap;
use crate::notice::notice;
use crate::output::Format;
use crate::output::clock::WallClock;
use crate::output::json::write_triage;
use crate::output::triage::{TracedCloses, Triage, triage_text};
use crate::ports::{PortScanOptions, PortScanner};
use crate::recording::RecordedTier;
use crate::session::{Session, now};
use crate::stuck::{EvidenceScope, ScanOptions, Scanner};
pub(super) use args::TriageArgs;
use consumer::TriageConsumer;
use tcpclose_sys::host::cgroup::Cgroups;
use tcpclose_sys::kernel::loader::{Tier, TraceOptions};

pub(super) fn run(args: &TriageArgs) -> anyhow::Result<ExitCode> {
    if let Some(note) = args.filters.note_on_contradictions() {
        notice!("{note}");
    }
    let filter = args.filters.live()?;
    let (netns, netns_cookie) = args.filters.kernel.scanned_namespace()?;
    let mut unseen = Vec::new();
    let agent = args.agent.address();
    let runtime = single_threaded_runtime()?;
    let watched = match args.last {
        Some(last) => Some(runtime.block_on(count_recorded(args, last, &mut unseen))?),
        None => runtime.block_on(watch(args, &mut unseen))?,
    };

    let mut scanner = Scanner::new(ScanOptions {
        min_age: args.min_age.into(),
        filter: filter.clone(),
        netns: netns.clone(),
        netns_cookie,
        still_sending: false,
        dead_after: None,
        agent: agent.clone(),
        evidence: EvidenceScope::None,
    });
    scanner.scan();
    let (routes, gaps) = PortScanner::new(PortScanOptions {
        filter: filter.clone(),
        netns,
        netns_cookie,
        agent,
    })
    .scan();
    for CoverageGap { text, matters } in scanner.take_gaps().into_iter().chain(gaps) {
        if matters && !unseen.contains(&text) {
            unseen.push(text);
        }
    }
    let triage = Triage::new(scanner.report(), &routes, watched.as_ref(), unseen);
    let text = match args.output.format() {
        Format::Table => triage_text(&triage, !filter.is_all(), args.output.has_colours()),
        Format::Json => {
            let mut line = Vec::new();
            let clock = WallClock::new(ClockOffset::measured());
            write_triage(&mut line, &triage, &clock)?;
            String::from_utf8_lossy(&line).into_owned()
        }
    };
    match print(&text)? {
        PrintOutcome::ReaderGone => Ok(ExitCode::SUCCESS),
        PrintOutcome::Printed => Ok(verdict_exit_code(triage.has_found(), triage.is_complete())),
    }
}

/// Watches connections close. Returns `None`, and adds why to `unseen`, where nothing can be
/// traced.
async fn watch(
    args: &TriageArgs,
    unseen: &mut Vec<String>,
) -> anyhow::Result<Option<TracedCloses>> {
    let shutdown = Shutdown::listen()?;
    let options = TraceOptions {
        filter: args.filters.kernel.to_config().live()?,
        ..TraceOptions::default()
    };
    let mut session = match Session::builder(options).start() {
        Ok(session) => session,
        Err(error) => {
            unseen.push(format!(
                "connections that are reset, time out or fail: {error}"
            ));
            return Ok(None);
        }
    };
    session.announce_limitations();
    if session.tier() == Tier::Classic {
        unseen.push(CLASSIC_TIER.to_owned());
    }
    notice!("watching for {:?}; Ctrl-C ends that sooner", args.span);
    let consumer = TriageConsumer::new(
        args.filters.user_space_part(),
        Box::new(Cgroups::new()),
        Some(shutdown.after(Some(args.span))),
        now(),
    );
    session.run(consumer).await.map(Some)
}

/// Counts what the agent's flight recorder has.
async fn count_recorded(
    args: &TriageArgs,
    last: Duration,
    unseen: &mut Vec<String>,
) -> anyhow::Result<TracedCloses> {
    let agent = args.agent.address();
    let agent = agent.context("--last needs an agent, and --agent none excludes it")?;
    let recorded = Recorded::Last(agent, Some(last));
    let mut session = recorded.open()?;
    if session.head().seen == RecordedTier::Classic {
        unseen.push(CLASSIC_TIER.to_owned());
    }
    let consumer = TriageConsumer::new(
        args.filters.recorded()?,
        Box::new(RecordedCgroupNames::new(session.cgroups())),
        None,
        session.now(),
    );
    let watched = session.run(consumer).await?;
    unseen.extend(session.span_notes());
    unseen.extend(session.damage().sentences());
    Ok(watched)
}
