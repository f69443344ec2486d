//! Churn for a while: what came in is what is told, and memory stays flat.
//!
//! 20 seconds of it here; `cargo xtask soak` has the same for minutes.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Agent, Scratch, eventually, of_kind, records};
use crate::sandbox::{Outcome, in_own_network};

/// How long, in seconds, where it is not the usual time.
const SECONDS: &str = "TCPCLOSE_SOAK_SECONDS";
const USUAL: Duration = Duration::from_secs(20);

/// The file is rotated and memory is looked at so often.
const SAMPLES: u32 = 60;

/// Until then memory grows: for 62 s with the ends in TIME_WAIT, then once more as the table of those grows.
const WARM: Duration = Duration::from_secs(180);

/// By so much memory may be more at the end than when it was warm.
const FLAT: f64 = 1.1;

/// Connections a second at most, with two ends each: what is in TIME_WAIT, and so memory, hangs on it.
const PACE: u32 = 1_500;

/// Connects, sends a byte and closes. Servers have many addresses, so that no ports run out.
struct Churn {
    listener: TcpListener,
    connections: u32,
}

impl Churn {
    fn turn(&mut self) -> io::Result<()> {
        let address = Ipv4Addr::new(127, 1, 0, (self.connections % 100 + 1) as u8);
        let port = self.listener.local_addr()?.port();
        let mut client = TcpStream::connect((address, port))?;
        let (mut server, _) = self.listener.accept()?;
        client.write_all(b"x")?;
        server.read_exact(&mut [0])?;
        drop(client);
        drop(server);
        self.connections += 1;
        Ok(())
    }
}

/// Anonymous memory of a process, in KiB.
fn memory(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| io::Error::other("no RssAnon"))
}

/// Counts the closes in a file, whose every line must be whole, and removes it.
fn take_closes(scratch: &Scratch, name: &str) -> io::Result<u64> {
    let mut closes = 0;
    for line in BufReader::new(fs::File::open(scratch.path(name))?).lines() {
        let record: Value = serde_json::from_str(&line?)?;
        closes += u64::from(record["kind"] == "close");
    }
    fs::remove_file(scratch.path(name))?;
    Ok(closes)
}

#[test]
fn soak() -> Outcome {
    let seconds = std::env::var(SECONDS).ok();
    let seconds = seconds.map(|seconds| seconds.parse()).transpose()?;
    let time = seconds.map_or(USUAL, Duration::from_secs);
    in_own_network(|netns| {
        let scratch = Scratch::new()?;
        let config = format!(
            "interval = \"1s\"\n[prometheus]\nenabled = false\n[trace]\nnetns = \"{netns}\"\n\
             [[output]]\ntype = \"file\"\nname = \"closes\"\nkinds = [\"close\", \"loss\"]\npath = \"{}\"\n\
             [[output]]\ntype = \"file\"\nkinds = [\"summary\"]\npath = \"{}\"\n",
            scratch.path("closes").display(),
            scratch.path("summaries").display()
        );
        let agent = Agent::start(&scratch, &config)?;
        let mut churn = Churn {
            listener: TcpListener::bind("0.0.0.0:0")?,
            connections: 0,
        };
        let (begun, mut told, mut samples) = (Instant::now(), 0, Vec::new());
        let mut next = time / SAMPLES;
        while begun.elapsed() < time {
            churn.turn()?;
            let due = Duration::from_secs(1) * churn.connections / PACE;
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            if begun.elapsed() < next {
                continue;
            }
            next += time / SAMPLES;
            samples.push((begun.elapsed(), memory(agent.pid())?));
            fs::rename(scratch.path("closes"), scratch.path("rotated"))?;
            agent.signal(libc::SIGHUP)?;
            eventually("the file is made anew", || {
                Ok(scratch.path("closes").exists().then_some(()))
            })?;
            told += take_closes(&scratch, "rotated")?;
        }
        let took = begun.elapsed().as_secs_f64();
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        told += take_closes(&scratch, "closes")?;

        let summaries = records(&scratch.path("summaries"))?;
        let summaries = of_kind(&summaries, "summary");
        let sum = |number: &dyn Fn(&Value) -> Option<u64>| -> u64 {
            let numbers = summaries.iter().map(|summary| number(summary));
            numbers.map(|number| number.expect("it is there")).sum()
        };
        let connections = |name: &str| sum(&|summary| summary["connections"][name].as_u64());
        let (opened, closed) = (connections("opened"), connections("closed"));
        let output = |outcome: &str| sum(&|summary| summary["outputs"][0][outcome].as_u64());
        let dropped = output("dropped") + output("failed");
        let lost = |place: &str| sum(&|summary| summary["lost"][place].as_u64());
        let lost: u64 = ["ring", "program", "table", "decode"]
            .map(lost)
            .iter()
            .sum();
        let ends = 2 * u64::from(churn.connections);
        println!(
            "{ends} ends in {took:.0} s ({:.0} closes a second): {opened} opened, {closed} closed, {told} in the file, \
             {dropped} dropped by it, {lost} lost before",
            ends as f64 / took
        );
        let shown = samples
            .iter()
            .map(|(at, kib)| format!("{}s {kib}", at.as_secs()));
        println!("memory in KiB: {}", shown.collect::<Vec<_>>().join(", "));

        assert_eq!(
            told + dropped,
            closed,
            "what was told and dropped is what closed"
        );
        // A lost record may be that of an end's close or another one.
        assert!(
            closed <= ends && ends - closed <= lost,
            "{closed} of {ends} ends closed, {lost} lost"
        );
        let warm = samples.iter().find(|(at, _)| *at >= WARM);
        if let (Some((_, warm)), Some((_, last))) = (warm, samples.last()) {
            assert!(
                *last as f64 <= *warm as f64 * FLAT,
                "from {warm} to {last} KiB"
            );
        }
        Ok(())
    })
}
