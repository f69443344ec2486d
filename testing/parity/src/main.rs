//! Makes closes of every kind between two network namespaces, or has real programs make them,
//! captures them with tcpdump, has tcpclose watch them, and compares both, endpoint by endpoint.
//! `cargo xtask parity` builds and starts it.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "printing is what it is for"
)]

mod expected;
mod network;
mod packet;
mod plan;
mod play;
mod players;
mod process;
mod programs;
mod queue;
mod queued;
mod random;
mod report;
mod script;
mod steps;
mod treatment;
mod visits;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result};
use clap::Parser;
use tcpclose_kit::scratch::Scratch;
use tcpclose_parity::closing::Closing;
use tcpclose_parity::compare::compare;
use tcpclose_parity::half_close::difference;
use tcpclose_parity::pairing::{has_socket, pair};
use tcpclose_parity::record::Record;
use tcpclose_parity::segment::Endpoint;
use tcpclose_parity::tshark;
use tcpclose_parity::verdict::Verdict;

use crate::expected::Expected;
use crate::network::{Network, is_at};
use crate::process::{Tcpdump, Watch};
use crate::programs::Services;
use crate::report::{ComparedEndpoint, Report};
use crate::treatment::{Treating, Treatment};

/// Compare what tcpclose reports about closes with captures of them
#[derive(Parser)]
#[command(name = "cargo xtask parity")]
struct Cli {
    /// How many connections to make and close; with --programs, how often to visit one
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    closes: u64,

    /// Makes the same workload again
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// How many FINs and ACKs get lost on the way, in percent
    #[arg(long, value_name = "P", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50))]
    drop: u32,

    /// Have real programs make the closes
    #[arg(long, conflicts_with = "drop")]
    programs: bool,

    /// Print in full what is not wrong but misjudged, unknown or missing, too
    #[arg(long)]
    all: bool,

    /// Keep captures, records and recordings in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// The program to compare
    #[arg(long, value_name = "FILE", hide = true)]
    tcpclose: PathBuf,
}

const ENDPOINTS: [Endpoint; 2] = [Endpoint::Client, Endpoint::Server];
const EXIT_COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(report) if report.is_wrong() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

fn run(cli: &Cli) -> Result<Report> {
    let own = env::temp_dir().join(format!("tcpclose-parity-{}", std::process::id()));
    let directory = cli.keep.as_ref().unwrap_or(&own);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let report = run_and_compare(cli, directory);
    if cli.keep.is_none() {
        // What stays behind after a failure is in the temporary directory.
        drop(fs::remove_dir_all(&own));
    }
    let report = report?;
    let from = if cli.all {
        Verdict::Unknown
    } else {
        Verdict::Wrong
    };
    print!("{}", report.text(from));
    Ok(report)
}

fn run_and_compare(cli: &Cli, directory: &Path) -> Result<Report> {
    let Cli {
        closes, seed, drop, ..
    } = *cli;
    let network = Network::create(drop)?;
    let scratch = Scratch::new();
    let services = if cli.programs {
        Some(Services::start(&network, scratch.folder())?)
    } else {
        None
    };
    let mut watches = Vec::new();
    let mut captures = Vec::new();
    for endpoint in ENDPOINTS {
        let keep = cli.keep.as_ref();
        let recording = keep.map(|directory| directory.join(format!("{endpoint}.rec")));
        watches.push(Watch::start(
            network.namespace_of(endpoint),
            &cli.tcpclose,
            recording,
        )?);
        let file = directory.join(format!("{endpoint}.pcap"));
        captures.push(Tcpdump::start(
            network.namespace_of(endpoint),
            Path::new("tcpdump"),
            file,
        )?);
    }
    let began = Instant::now();
    let expected = match &services {
        Some(services) => {
            let running = &services.running;
            eprintln!(
                "parity: {closes} visits to {} programs, seed {seed}",
                running.len()
            );
            for service in running {
                let treating = Treating::new(Treatment::of_programs(), seed, service.port().into());
                network.queue().treat(service.port(), treating);
            }
            visits::visit(&network, running, seed, closes, scratch.folder())?;
            Expected::of_services(running)
        }
        None => {
            eprintln!("parity: {closes} closes, seed {seed}, {drop}% of FINs and ACKs lost");
            let played = play::play(&network, seed, &plan::plans(seed, closes, drop))?;
            Expected::of_plans(played)
        }
    };
    eprintln!("parity: closed in {:.1?}", began.elapsed());
    wait_for_records(&watches, expected.records());
    // What still is open ends with its server.
    std::mem::drop(services);
    wait_for_records(&watches, expected.records());

    let mut report = Report::new(expected.kinds());
    for ((endpoint, watch), capture) in ENDPOINTS.into_iter().zip(watches).zip(captures) {
        let lines = watch.stop()?;
        let streams = tshark::read(Path::new("tshark"), &capture.stop()?);
        if cli.keep.is_some() {
            fs::write(
                directory.join(format!("{endpoint}.jsonl")),
                lines.join("\n") + "\n",
            )?;
        }
        let streams = streams.map_err(anyhow::Error::msg)?;
        add(&mut report, endpoint, streams, &lines, expected.clone())?;
    }
    Ok(report)
}

/// Waits until everything is reported, or nothing more has come for longer than a FIN needs to be
/// sent again.
fn wait_for_records(watches: &[Watch], endpoints: usize) {
    const QUIET_TIME: Duration = Duration::from_secs(8);
    let mut last = (0, Instant::now());
    loop {
        let reported = watches.iter().map(Watch::lines).sum();
        if reported != last.0 {
            last = (reported, Instant::now());
        }
        if reported >= endpoints || last.1.elapsed() > QUIET_TIME {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Compares what was captured and reported in one endpoint's namespace, where a program may both
/// connect and be connected to.
fn add(
    report: &mut Report,
    namespace: Endpoint,
    streams: Vec<tshark::Stream>,
    lines: &[String],
    mut expected: Expected,
) -> Result<()> {
    let mut records = Vec::new();
    for line in lines {
        let record = Record::parse(line).map_err(anyhow::Error::msg);
        records.extend(record.with_context(|| format!("not understood of tcpclose: {line}"))?);
    }
    let (own, others): (Vec<_>, Vec<_>) = streams
        .into_iter()
        .partition(|stream| is_at(stream.client.ip(), namespace));
    let connected: HashSet<_> = own.iter().map(|it| (it.client, it.server)).collect();
    let (as_client, as_server): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|record| connected.contains(&(record.local, record.peer)));
    for (endpoint, streams, records) in [
        (Endpoint::Client, own, as_client),
        (Endpoint::Server, others, as_server),
    ] {
        let pairs = pair(streams, endpoint, records);
        for (stream, record) in pairs.streams {
            let Some((plan, kind)) = expected.take(&stream) else {
                anyhow::bail!(
                    "the workload did not make the connection {} {}",
                    stream.client,
                    stream.server
                );
            };
            let closing = Closing::at(&stream.segments(), endpoint);
            let is_over = closing.path().is_some();
            if record.is_none() && !(is_over && has_socket(&stream, endpoint)) {
                continue;
            }
            // Its end stands among the segments of the next connection with the same ports.
            if !is_over && expected.has_another(&stream) {
                report.cut_short += 1;
                continue;
            }
            let judgement = record.as_ref().map(|record| {
                let mut judgement = compare(&closing, endpoint, &record.close);
                let half_close = record.close.half_close.as_ref();
                let differs = half_close.and_then(|it| difference(&stream, &closing, endpoint, it));
                judgement.differences.extend(differs);
                judgement
            });
            report.endpoints.push(ComparedEndpoint {
                kind,
                plan,
                endpoint,
                stream,
                record,
                judgement,
            });
        }
        report.strays.extend(pairs.strays);
        report.unsent += pairs.unsent.len();
    }
    Ok(())
}
