//! Churn for a while: what came in is what is reported, and memory stays flat.
//!
//! 20 seconds of it here; `cargo xtask soak` has the same for minutes, with `--losses` so that the
//! ring buffer overflows and outputs drop and cut.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _, BufReader, PipeReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::program::{Agent, agent, eventually, records, records_of_kind};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

/// How long, in seconds, where it is not the usual time.
const SECONDS: &str = "TCPCLOSE_SOAK_SECONDS";
const DEFAULT_DURATION: Duration = Duration::from_secs(20);

/// The file is rotated and memory is looked at so often.
const SAMPLES: u32 = 60;

/// Until then memory grows: for 62 s with the endpoints in TIME_WAIT, then once more as the table
/// of those grows.
const WARM_UP_TIME: Duration = Duration::from_secs(180);

/// By so much memory may be more at the end than when it was warm.
const MAX_GROWTH_FACTOR: f64 = 1.1;

/// Samples that are compared: the first so many since then with the last.
const MEDIAN_WINDOW: usize = 7;

/// Memory of one endpoint in TIME_WAIT, in bytes, with what the doubling of its table takes in
/// vain: half of that was measured.
const MAX_BYTES_PER_TIME_WAIT: u64 = 700;

/// What buffers and queues may grow by, in KiB.
const MAX_GROWTH_KIB: u64 = 6 * 1024;

/// Connections a second at most, with two endpoints each: what is in TIME_WAIT, and so memory,
/// hangs on it. What a busy machine has made late is not caught up with.
const MAX_CONNECTIONS_PER_SECOND: u32 = 1_500;

/// Less than that is a sleep that was a little long.
const MAX_SLEEP_EXCESS: Duration = Duration::from_millis(100);

/// The agent is stopped each time that memory has been looked at so often.
const STOPPED_EACH: usize = 14;

/// So many connections have more records than the ring buffer has room for: ten each.
const OVERFLOW: u32 = 7_000;

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

/// The median of some samples, in KiB.
fn middle(samples: &[&(Duration, u64)]) -> u64 {
    let mut sizes: Vec<u64> = samples.iter().map(|(_, kib)| *kib).collect();
    sizes.sort_unstable();
    sizes[sizes.len() / 2]
}

/// What the records of an output add up to.
#[derive(Default)]
struct ReportedCounts {
    closes: u64,
    /// Of the closes, which ends they are of.
    ends: HashSet<u64>,
    /// `loss` records of what was lost before the outputs: those are records that an output can
    /// drop, too.
    losses: u64,
    /// Dropped by the output itself, as its `loss` records say.
    dropped: u64,
}

impl ReportedCounts {
    /// Every line must be whole.
    fn add(&mut self, line: &str) -> io::Result<()> {
        let record: Value = serde_json::from_str(line)?;
        if record["kind"] == "close" {
            self.closes += 1;
            self.ends
                .insert(record["conn"]["id"].as_u64().expect("a number"));
        } else if record["where"] == "output" {
            self.dropped += record["lost"].as_u64().expect("a number");
        } else {
            self.losses += 1;
        }
        Ok(())
    }

    /// Takes the records of a file, and removes it.
    fn take(&mut self, scratch: &Scratch, name: &str) -> io::Result<()> {
        for line in BufReader::new(fs::File::open(scratch.path(name))?).lines() {
            self.add(&line?)?;
        }
        fs::remove_file(scratch.path(name))
    }
}

/// Reads the agent's stdout, but rests most of the time until it is asked to hurry.
struct LazyReader {
    hurry: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<ReportedCounts>>,
}

impl LazyReader {
    fn start(pipe: PipeReader) -> Self {
        let hurry = Arc::<AtomicBool>::default();
        let asked = Arc::clone(&hurry);
        let thread = thread::spawn(move || {
            let (mut reported, mut awake) = (ReportedCounts::default(), Instant::now());
            for line in BufReader::new(pipe).lines() {
                reported.add(&line?)?;
                if awake.elapsed() > Duration::from_secs(1) && !asked.load(Ordering::Relaxed) {
                    thread::sleep(Duration::from_secs(2));
                    awake = Instant::now();
                }
            }
            Ok(reported)
        });
        Self { hurry, thread }
    }

    fn finish(self) -> io::Result<ReportedCounts> {
        self.thread.join().expect("it does not panic")
    }
}

/// Returns whether nothing closed in the last interval, and no output had anything left to write.
fn has_caught_up(scratch: &Scratch) -> io::Result<Option<()>> {
    let text = fs::read_to_string(scratch.path("summaries"))?;
    // The last line may be half there.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let Some(last) = whole.lines().last() else {
        return Ok(None);
    };
    let last: Value = serde_json::from_str(last)?;
    let outputs = last["outputs"].as_array().expect("a list");
    // One writes the summaries themselves.
    let wrote = outputs.iter().filter(|output| output["written"] != 0);
    Ok((last["connections"]["closed"] == 0 && wrote.count() <= 1).then_some(()))
}

#[test]
fn soak() -> TestResult {
    run(false)
}

/// The agent is stopped until its ring buffer overflows, an output is read too slowly, and another
/// one has a limit.
#[test]
fn soak_with_losses() -> TestResult {
    run(true)
}

fn run(with_losses: bool) -> TestResult {
    let seconds = std::env::var(SECONDS).ok();
    let seconds = seconds.map(|seconds| seconds.parse()).transpose()?;
    let time = seconds.map_or(DEFAULT_DURATION, Duration::from_secs);
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let file = |name: &str| {
            format!(
                "type = \"file\"\npath = \"{}\"\n",
                scratch.path(name).display()
            )
        };
        let mut config = format!(
            "interval = \"1s\"\n[prometheus]\nenabled = false\n[trace]\nnetns = \"{netns}\"\n\
             [[output]]\n{}name = \"closes\"\nkinds = [\"close\", \"loss\"]\n\
             [[output]]\n{}kinds = [\"summary\"]\n",
            file("closes"),
            file("summaries")
        );
        if with_losses {
            config +=
                "[[output]]\ntype = \"stdout\"\nkinds = [\"close\", \"loss\"]\nqueue = 1000\n";
            config += "[[output]]\nkinds = [\"close\"]\nrate_limit = { per_second = 100 }\n";
            config += &file("limited");
        }
        let (pipe, stdout) = io::pipe()?;
        let mut command = agent();
        command
            .arg("--config")
            .arg(scratch.write("agent.toml", &config)?)
            .stdout(stdout);
        let agent = Agent::run_into(command, &scratch)?;
        let reader = LazyReader::start(pipe);
        let mut churn = Churn {
            listener: TcpListener::bind("0.0.0.0:0")?,
            connections: 0,
        };
        let (begun, mut reported, mut samples) =
            (Instant::now(), ReportedCounts::default(), Vec::new());
        let (mut next, mut due) = (time / SAMPLES, begun);
        while begun.elapsed() < time {
            churn.turn()?;
            due = (due + Duration::from_secs(1) / MAX_CONNECTIONS_PER_SECOND)
                .max(Instant::now() - MAX_SLEEP_EXCESS);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if begun.elapsed() < next {
                continue;
            }
            next += time / SAMPLES;
            samples.push((begun.elapsed(), memory(agent.pid())?));
            fs::rename(scratch.path("closes"), scratch.path("rotated"))?;
            agent.signal(Signal::HUP)?;
            eventually("the file is made anew", || {
                Ok(scratch.path("closes").exists().then_some(()))
            })?;
            reported.take(&scratch, "rotated")?;
            if with_losses && samples.len() % STOPPED_EACH == 0 {
                agent.signal(Signal::STOP)?;
                for _ in 0..OVERFLOW {
                    churn.turn()?;
                }
                due += Duration::from_secs(1) * OVERFLOW / MAX_CONNECTIONS_PER_SECOND;
                agent.signal(Signal::CONT)?;
            }
        }
        let took = begun.elapsed().as_secs_f64();
        reader.hurry.store(true, Ordering::Relaxed);
        eventually("everything is reported", || has_caught_up(&scratch))?;
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        reported.take(&scratch, "closes")?;

        let summaries = records(&scratch.path("summaries"))?;
        let summaries = records_of_kind(&summaries, "summary");
        let sum = |pointer: &str| -> u64 {
            let numbers = summaries.iter().map(|summary| summary.pointer(pointer));
            let number = |number: Option<&Value>| number.and_then(Value::as_u64);
            numbers
                .map(|found| number(found).unwrap_or_else(|| panic!("no {pointer}")))
                .sum()
        };
        let (opened, closed) = (sum("/connections/opened"), sum("/connections/closed"));
        let lost =
            ["ring", "program", "table", "decode"].map(|place| sum(&format!("/lost/{place}")));
        let lost: u64 = lost.iter().sum();
        let ends = 2 * u64::from(churn.connections);
        println!(
            "{ends} ends in {took:.0} s ({:.0} closes a second): {opened} opened, {closed} closed, {lost} records lost before",
            ends as f64 / took
        );
        let shown = samples
            .iter()
            .map(|(at, kib)| format!("{}s {kib}", at.as_secs()));
        println!("memory in KiB: {}", shown.collect::<Vec<_>>().join(", "));

        // Of each output: what was reported, what it dropped and what its limit cut is what there
        // was.
        let adds_up = |output: usize, reported: &ReportedCounts, offered: u64| {
            let of = |outcome: &str| sum(&format!("/outputs/{output}/{outcome}"));
            let (dropped, cut, failed) = (of("dropped"), of("cut"), of("failed"));
            let name = &summaries[0]["outputs"][output]["name"];
            let name = name.as_str().expect("it has one");
            let written = reported.closes + reported.losses;
            println!(
                "{name}: {written} of {offered} written, {dropped} dropped, {cut} cut, {failed} failed"
            );
            assert_eq!(written + dropped + cut + failed, offered, "{name}");
            assert_eq!(
                reported.ends.len() as u64,
                reported.closes,
                "{name}: each end once"
            );
            (dropped, cut)
        };
        let offered = closed + reported.losses;
        let (dropped, _) = adds_up(0, &reported, offered);
        assert_eq!(reported.dropped, dropped, "what it dropped is reported");
        let read = reader.finish()?;
        if with_losses {
            let (dropped, _) = adds_up(2, &read, offered);
            assert_eq!(read.dropped, dropped, "what it dropped is reported");
            let mut limited = ReportedCounts::default();
            limited.take(&scratch, "limited")?;
            let (_, cut) = adds_up(3, &limited, closed);
            assert!(lost > 0 && dropped > 0 && cut > 0, "losses were wanted");
        }
        // A lost record may be a close or another one.
        assert!(
            closed <= ends && ends - closed <= lost,
            "{closed} of {ends} ends closed, {lost} lost"
        );
        if lost == 0 {
            assert_eq!((opened, closed), (ends, ends), "nothing was lost");
        }
        // An endpoint in TIME_WAIT takes memory; what has closed and was reported takes none.
        let waiting = u64::from(churn.connections).min(62 * u64::from(MAX_CONNECTIONS_PER_SECOND));
        let (first, last) = (samples[0].1, samples[samples.len() - 1].1);
        let may_grow = MAX_GROWTH_KIB + waiting * MAX_BYTES_PER_TIME_WAIT / 1024;
        assert!(
            last <= first + may_grow,
            "from {first} to {last} KiB, {may_grow} more may be"
        );
        let warm: Vec<_> = samples
            .iter()
            .filter(|(at, _)| *at >= WARM_UP_TIME)
            .collect();
        if warm.len() >= 2 * MEDIAN_WINDOW {
            let first = middle(&warm[..MEDIAN_WINDOW]);
            let last = middle(&warm[warm.len() - MEDIAN_WINDOW..]);
            // Where the machine has become faster there is more in TIME_WAIT than there ever was.
            let waiting = summaries.iter().map(|it| it["time_wait"]["now"].as_u64());
            let waiting: Vec<u64> = waiting.map(|now| now.expect("a number")).collect();
            let most = |of: &[u64]| of.iter().max().copied().unwrap_or(0);
            let by_then = warm[MEDIAN_WINDOW - 1].0.as_secs() as usize;
            let before = most(&waiting[..by_then.min(waiting.len())]);
            let more = (most(&waiting) - before) * MAX_BYTES_PER_TIME_WAIT / 1024;
            println!(
                "memory once warm, in KiB: {first}, and at the end {last}; {before} were in TIME_WAIT at most by then, \
                 {more} KiB may be of those that were more later"
            );
            assert!(
                last as f64 <= first as f64 * MAX_GROWTH_FACTOR + more as f64,
                "from {first} to {last} KiB"
            );
        }
        Ok(())
    })
}
