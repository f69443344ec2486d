//! i: what the agent reports of a storm of connections that wants all processors, for each
//! priority of the thread that reads, and what that priority costs the storm.

#![expect(unsafe_code, reason = "listen(2) with a longer queue than std's")]

use std::{
    env, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    agent::{Agent, Writes},
    report::Row,
    testbed::Testbed,
};
use crate::command::announce;
use tcpclose_kit::sockets::reset_on_close;

/// The nice values of the thread that reads.
const NICE: [i32; 4] = [0, -5, -10, -15];
/// Processes that connect and reset, with a thread each that accepts.
const PROCESSES: u8 = 50;
/// Connections that wait to be accepted.
const MAX_QUEUED: i32 = 4096;
/// For what the rings hold at the end, at the priority that the reader has then.
const DRAIN_DELAY: Duration = Duration::from_secs(2);

/// What is measured with one priority.
#[derive(Default)]
struct Measured {
    told: Vec<f64>,
    rate: Vec<f64>,
    cpu: Vec<f64>,
}

impl Testbed<'_> {
    /// All priorities in turn, round after round, and as many rounds without an agent.
    pub fn storm(&mut self) -> Result<()> {
        let seconds = self.seconds(12).as_secs();
        let processors = thread::available_parallelism().map_or(1, |count| count.get()) as f64;
        let mut untraced = Vec::new();
        let mut measured: [Measured; NICE.len()] = Default::default();
        for round in 0..self.args.rounds() {
            announce(format_args!("i: round {} of the storm", round + 1));
            untraced.push(storm(seconds)?);
            for (nice, measured) in NICE.into_iter().zip(&mut measured) {
                let keys = format!("reader_nice = {nice}\n");
                let agent =
                    Agent::start_with(self.program, self.directory, Writes::Default, &keys)?;
                let begun = Instant::now();
                let connections = storm(seconds)?;
                let cpu = agent.tracer.cpu()? / begun.elapsed().as_secs_f64() / processors;
                thread::sleep(DRAIN_DELAY);
                let ends = 2.0 * connections;
                measured
                    .told
                    .push(agent.stop()?.closed()? as f64 / ends * 100.0);
                measured.rate.push(connections / seconds as f64);
                measured.cpu.push(cpu * 100.0);
            }
        }
        let per_second = untraced
            .iter()
            .map(|connections| connections / seconds as f64);
        let what = format!("connections that {PROCESSES} processes make and reset, untraced");
        let mut rows = vec![Row::new('i', what, "1/s", per_second.collect())];
        for (nice, measured) in NICE.into_iter().zip(measured) {
            let row = |what: &str, unit: &str, values| {
                Row::new('i', format!("{what}, reader at nice {nice}"), unit, values)
            };
            let told = row(
                "closes reported, of those that happened",
                "%",
                measured.told,
            );
            rows.push(match nice {
                -15 => told.demands("at least 99.5", |value| value >= 99.5),
                _ => told,
            });
            rows.push(row("connections", "1/s", measured.rate));
            rows.push(row("CPU of the agent", "% of all", measured.cpu));
        }
        self.rows.extend(rows);
        Ok(())
    }
}

/// Runs the processes for so long. Returns how many connections they made.
fn storm(seconds: u64) -> Result<f64> {
    let own = env::current_exe().context("cannot find xtask itself")?;
    let processes: Vec<_> = (0..PROCESSES)
        .map(|process| {
            Command::new(&own)
                .args(["bench", &format!("--storm={process}:{seconds}")])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
        })
        .collect::<io::Result<_>>()
        .context("cannot start a process of the storm")?;
    let mut connections = 0;
    for process in processes {
        let ended = process.wait_with_output()?;
        let made: u64 = String::from_utf8(ended.stdout)?.trim().parse()?;
        connections += made;
    }
    Ok(connections as f64)
}

/// One process of the storm, `PROCESS:SECONDS`: connects to itself and resets, and prints how
/// often.
pub fn connect_and_reset(what: &str) -> Result<()> {
    let (process, seconds) = what.split_once(':').context("PROCESS:SECONDS")?;
    let address = Ipv4Addr::new(127, 3, process.parse()?, 1);
    let listener = TcpListener::bind((address, 0)).context("cannot listen")?;
    // With std's queue of 128 connections a client would often wait a second for its SYN.
    // SAFETY: takes no pointers.
    let longer = unsafe { libc::listen(listener.as_raw_fd(), MAX_QUEUED) };
    ensure!(longer == 0, "cannot listen");
    let address: SocketAddr = listener.local_addr()?;
    thread::spawn(move || {
        loop {
            drop(listener.accept());
        }
    });
    let end = Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut made: u64 = 0;
    while Instant::now() < end {
        // All ports may be in use for a moment.
        let Ok(connection) = TcpStream::connect(address) else {
            continue;
        };
        reset_on_close(&connection);
        made += 1;
    }
    println!("{made}");
    Ok(())
}
