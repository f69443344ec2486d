//! Writes the records of a simulated fleet. `cargo xtask fleet` builds and starts it.

#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use jiff::Timestamp;
use tcpclose_fleet::{Options, Written, first_of, simulate};

/// Write the records that the agents of a fleet would write, and the truth about it
#[derive(Parser)]
#[command(name = "cargo xtask fleet")]
struct Cli {
    /// How many hosts the fleet has, 40 or more
    #[arg(long, value_name = "N", default_value_t = 40)]
    hosts: usize,

    /// How many days are simulated, two or more
    #[arg(long, value_name = "D", default_value_t = 2)]
    days: u32,

    /// Decides what is wrong, and where; the same seed makes the same records
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,

    /// The first day; the last one is yesterday if it is not given
    #[arg(long, value_name = "DATE")]
    begin: Option<String>,

    /// How many closes the agent of a host reports on a day, on average
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    closes_per_host_day: u32,

    /// How often an agent writes a summary
    #[arg(long, value_name = "N", default_value_t = 60)]
    summary_minutes: u32,

    /// The directory to make
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let options = Options {
        hosts: cli.hosts,
        days: cli.days,
        seed: cli.seed,
        begin: match cli.begin {
            Some(date) => format!("{date}T00:00:00Z").parse()?,
            None => first_of(cli.days, Timestamp::now())?,
        },
        closes_per_host_day: cli.closes_per_host_day,
        summary_minutes: cli.summary_minutes,
    };
    let began = Instant::now();
    let Written {
        counts,
        most_pending,
    } = simulate(&options, &cli.out)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{} records ({} closes, {} MB) in {seconds:.1} s: {:.0} closes/s, {:.0} times real time; \
         at most {most_pending} events in memory",
        counts.lines,
        counts.closes,
        counts.bytes / 1_000_000,
        counts.closes as f64 / seconds,
        f64::from(cli.days) * 86_400.0 / seconds,
    );
    Ok(())
}
