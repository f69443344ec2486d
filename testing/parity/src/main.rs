//! Makes closes of every kind between two network namespaces, captures them with tcpdump, has tcpclose watch them, and
//! compares both, end by end. `cargo xtask parity` builds and starts it.

mod moves;
mod network;
mod plan;
mod play;
mod process;
mod random;
mod report;
mod script;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Context as _, Result};
use clap::Parser;
use tcpclose_parity::closing::Closing;
use tcpclose_parity::compare::judge;
use tcpclose_parity::pairing::{has_socket, pair};
use tcpclose_parity::record::Record;
use tcpclose_parity::segment::Endpoint;
use tcpclose_parity::tshark;
use tcpclose_parity::verdict::Verdict;

use crate::moves::Kind;
use crate::network::Net;
use crate::play::Played;
use crate::process::{Tcpdump, Watch};
use crate::report::{Compared, Report};

/// Compare what tcpclose reports closes with captures of them
#[derive(Parser)]
#[command(name = "cargo xtask parity")]
struct Cli {
    /// How many connections to make and close
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    closes: u64,

    /// Makes the same workload again
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// How many FINs and ACKs get lost on the way, in percent
    #[arg(long, value_name = "P", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=50))]
    drop: u32,

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

const ENDS: [Endpoint; 2] = [Endpoint::Client, Endpoint::Server];
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(report) if report.is_wrong() => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn run(cli: &Cli) -> Result<Report> {
    let own = env::temp_dir().join(format!("tcpclose-parity-{}", std::process::id()));
    let directory = cli.keep.as_ref().unwrap_or(&own);
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let report = compare(cli, directory);
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

fn compare(cli: &Cli, directory: &Path) -> Result<Report> {
    let Cli {
        closes, seed, drop, ..
    } = *cli;
    let net = Net::lay(drop)?;
    let mut watches = Vec::new();
    let mut captures = Vec::new();
    for end in ENDS {
        let keep = cli.keep.as_ref();
        let recording = keep.map(|directory| directory.join(format!("{end}.rec")));
        watches.push(Watch::start(net.of(end), &cli.tcpclose, recording)?);
        let file = directory.join(format!("{end}.pcap"));
        captures.push(Tcpdump::start(net.of(end), Path::new("tcpdump"), file)?);
    }
    eprintln!("parity: {closes} closes, seed {seed}, {drop}% of FINs and ACKs lost");
    let began = Instant::now();
    let played = play::play(&net, &plan::plans(seed, closes))?;
    eprintln!("parity: made in {:.1?}", began.elapsed());
    let refused = played.iter().filter(|it| it.kind == Kind::Refused).count();
    settle(&watches, 2 * played.len() - refused);

    let mut report = Report::default();
    for ((end, watch), capture) in ENDS.into_iter().zip(watches).zip(captures) {
        let lines = watch.stop()?;
        let streams = tshark::read(Path::new("tshark"), &capture.stop()?);
        if cli.keep.is_some() {
            fs::write(
                directory.join(format!("{end}.jsonl")),
                lines.join("\n") + "\n",
            )?;
        }
        add(
            &mut report,
            end,
            streams.map_err(anyhow::Error::msg)?,
            &lines,
            &played,
        )?;
    }
    Ok(report)
}

/// Waits until everything is reported, or nothing more has come for longer than a FIN needs to be sent again.
fn settle(watches: &[Watch], ends: usize) {
    const QUIET: Duration = Duration::from_secs(8);
    let mut last = (0, Instant::now());
    loop {
        let reported = watches.iter().map(Watch::lines).sum();
        if reported != last.0 {
            last = (reported, Instant::now());
        }
        if reported >= ends || last.1.elapsed() > QUIET {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn add(
    report: &mut Report,
    end: Endpoint,
    streams: Vec<tshark::Stream>,
    lines: &[String],
    played: &[Played],
) -> Result<()> {
    let mut records = Vec::new();
    for line in lines {
        let record = Record::parse(line).map_err(anyhow::Error::msg);
        records.extend(record.with_context(|| format!("not understood of tcpclose: {line}"))?);
    }
    let mut plans: HashMap<(SocketAddr, SocketAddr), Vec<&Played>> = HashMap::new();
    for connection in played.iter().rev() {
        plans
            .entry((connection.client, connection.server))
            .or_default()
            .push(connection);
    }
    let pairs = pair(streams, end, records);
    for (stream, record) in pairs.streams {
        let known = plans
            .get_mut(&(stream.client, stream.server))
            .and_then(Vec::pop);
        let Some(&Played { plan, kind, .. }) = known else {
            anyhow::bail!(
                "the workload did not make the connection {} {}",
                stream.client,
                stream.server
            );
        };
        let closing = Closing::at(&stream.segments(), end);
        let is_over = closing.path().is_some();
        let has_successor = !plans[&(stream.client, stream.server)].is_empty();
        if record.is_none() && !(is_over && has_socket(&stream, end)) {
            continue;
        }
        // Its end stands among the segments of the next connection with the same ports.
        if !is_over && has_successor {
            report.cut_short += 1;
            continue;
        }
        let judgement = record
            .as_ref()
            .map(|record| judge(&closing, end, &record.close));
        report.ends.push(Compared {
            kind,
            plan,
            end,
            stream,
            record,
            judgement,
        });
    }
    report.strays.extend(pairs.strays);
    report.unsent += pairs.unsent.len();
    Ok(())
}
