//! `tcpclose compare A.rec B.rec`.

mod args;
mod read_order;
mod reading;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};

use super::common::{PrintOutcome, print, verdict_exit_code};
use super::replay_common;
use crate::clock_offset::ClockOffset;
use crate::escape::push_for_terminal;
use crate::notice::notice;
use crate::output::Format;
use crate::output::clock::WallClock;
use crate::output::compare::{Compared, Recorded, compared_ladders, compared_text};
use crate::output::json::write_compare;
use crate::output::terminal;
pub(super) use args::CompareArgs;
use read_order::ReadOrder;
use reading::Reading;
use tcpclose_core::compare::{Comparison, Host};

pub(super) fn run(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let args = args.clone();
    replay_common::until_stopped(move |stop| compare(&args, &stop))
}

fn compare(args: &CompareArgs, stop: &Arc<AtomicBool>) -> anyhow::Result<ExitCode> {
    let files = [&args.a, &args.b];
    refuse_one_file(files)?;
    if let Some(note) = args.filters.note_on_recordings() {
        notice!("{note}");
    }
    let filter = args.closes.add_to(args.filters.recorded()?);
    let start = |file: &Path| Reading::start(file, filter.clone(), Arc::clone(stop));
    let readings = [start(&args.a)?, start(&args.b)?];
    let mut comparison = Comparison::default();
    let mut turns = ReadOrder::default();
    while let Some(host) = turns.next(comparison.last_distance()) {
        match readings[host.index()].next() {
            Some(message) => turns.take(host, message, &mut comparison),
            None => turns.end(host),
        }
        if stop.load(Ordering::Relaxed) {
            bail!("stopped before both recordings were read");
        }
    }
    let report = comparison.finish(turns.walls());
    let walls = turns.walls();
    let [a, b] = readings.map(Reading::finish);
    let (a, b) = (a?, b?);
    let recorded = |host: Host, ended: reading::Ended| {
        let mut file = String::new();
        let path = files[host.index()];
        let name = path.file_name().unwrap_or(path.as_os_str());
        push_for_terminal(&mut file, name.as_encoded_bytes());
        Recorded {
            file,
            clock: WallClock::new(ClockOffset::new(walls[host.index()])),
            wall: walls[host.index()],
            head: ended.head,
            damage: ended.damage,
        }
    };
    let recorded = [recorded(Host::A, a), recorded(Host::B, b)];
    let is_filtered = !filter.is_all();
    let compared = Compared::new(&report, &recorded, is_filtered);
    let mut text = match args.output.format() {
        Format::Json => {
            let mut line = Vec::new();
            let clock = WallClock::new(ClockOffset::measured());
            let pair_key = args.pair_key.clone().unwrap_or_default().read()?;
            write_compare(&mut line, &compared, &report, &recorded, &clock, pair_key)?;
            line
        }
        Format::Table => {
            let colours = args.output.has_colours();
            compared_text(&compared, &recorded, colours).into_bytes()
        }
    };
    if args.output.format() == Format::Table && (args.verbose || is_filtered) {
        let clock = &recorded[Host::A.index()].clock;
        compared_ladders(&mut text, &report, is_filtered, clock, terminal::symbols());
    }
    Ok(match print(&String::from_utf8_lossy(&text))? {
        PrintOutcome::ReaderGone => ExitCode::SUCCESS,
        PrintOutcome::Printed => verdict_exit_code(compared.has_found(), compared.is_complete()),
    })
}

/// Refuses to compare a recording with itself.
fn refuse_one_file(files: [&std::path::PathBuf; 2]) -> anyhow::Result<()> {
    let identity = |file: &Path| {
        let about = fs::metadata(file);
        let about = about.with_context(|| format!("{} cannot be read", file.display()))?;
        anyhow::Ok((about.dev(), about.ino()))
    };
    if identity(files[0])? == identity(files[1])? {
        bail!(
            "{} and {} are the same file: compare takes the recordings of two hosts; `tcpclose \
             explain --replay FILE` joins both endpoints within one",
            files[0].display(),
            files[1].display()
        );
    }
    Ok(())
}
