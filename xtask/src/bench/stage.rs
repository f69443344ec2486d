//! What is measured as root, in a network namespace of its own.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Bench,
    churn::{Churned, churn},
    report::{self, Row, ratios},
    tracer::Tracer,
};
use crate::command::{announce, find_program, run};

/// The results, for whoever started this.
pub const RESULTS: &str = "stage.json";
/// A churn, for the core's bench.
pub const RECORDING: &str = "churn.rec";

/// Counts the run time of eBPF programs; it costs some ten nanoseconds a run itself.
const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Our own namespace: what else happens on the machine is not measured.
const HERE: &str = "/proc/self/ns/net";
/// Where the tracepoints are described.
const TRACEFS: &str = "/sys/kernel/tracing";
/// What tcpclose says when it is attached.
const WATCHING: &str = "tcpclose: watching";

struct Stage<'a> {
    args: &'a Bench,
    program: &'a Path,
    tcpstates: PathBuf,
    directory: &'a Path,
    /// Transitions of one connection, both ends: tcpstates' program runs once for each.
    transitions_each: f64,
    rows: Vec<Row>,
}

/// Measures, and leaves results and recording in `directory`.
pub fn measure(args: &Bench, program: &Path, directory: &Path) -> Result<()> {
    // A port is free again after a second on loopback; with many of them that is soon enough.
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65000")
        .context("cannot widen the port range")?;
    let mut stage = Stage {
        args,
        program,
        tcpstates: find_program("tcpstates").context("there is no tcpstates here")?,
        directory,
        transitions_each: 0.0,
        rows: Vec::new(),
    };
    mount_tracefs()?;
    announce("warming up");
    churn(Duration::from_secs(1), 1)?;
    stage.count_transitions()?;
    if args.wants('a') {
        stage.kernel_cost()?;
    }
    if args.wants('b') {
        stage.connection_rate()?;
    }
    if args.wants('c') {
        stage.cpu()?;
    }
    if args.wants('d') {
        stage.losses()?;
    }
    if args.wants('e') {
        stage.record()?;
    }
    if args.wants('g') {
        stage.start()?;
    }
    report::write(&stage.rows, args.rounds(), &directory.join(RESULTS))
}

/// tcpstates and the classic tracepoint need it; it stays mounted.
fn mount_tracefs() -> Result<()> {
    if Path::new(TRACEFS).join("events").exists() {
        return Ok(());
    }
    announce(format_args!("mounting tracefs at {TRACEFS}"));
    run(
        Command::new("mount").args(["-t", "tracefs", "tracefs", TRACEFS]),
        "mounting tracefs",
    )
}

/// Counting of run times, switched back when dropped.
struct BpfStats(String);

impl BpfStats {
    fn on() -> Result<Self> {
        let before = fs::read_to_string(BPF_STATS).context("the kernel counts no run times")?;
        fs::write(BPF_STATS, "1")?;
        Ok(Self(before))
    }
}

impl Drop for BpfStats {
    fn drop(&mut self) {
        let _ = fs::write(BPF_STATS, self.0.trim());
    }
}

impl Stage<'_> {
    fn seconds(&self, whole: u64) -> Duration {
        Duration::from_secs(if self.args.short {
            whole.div_ceil(4)
        } else {
            whole
        })
    }

    fn tcpclose(&self, args: &[&str], out: impl Into<Stdio>) -> Result<Tracer> {
        Tracer::start(self.program, args, out, Some(WATCHING))
    }

    fn tcpstates(&self) -> Result<Tracer> {
        Tracer::start(&self.tcpstates, &[], Stdio::null(), None)
    }

    fn count_transitions(&mut self) -> Result<()> {
        let _counting = BpfStats::on()?;
        let tracer = self.tcpstates()?;
        let before = tracer.program_cost()?;
        let churned = churn(Duration::from_secs(1), 1)?;
        let after = tracer.program_cost()?;
        let transitions = after.most_runs - before.most_runs;
        ensure!(transitions > 0, "tcpstates has seen nothing");
        self.transitions_each = transitions as f64 / churned.connections as f64;
        announce(format_args!(
            "{:.2} transitions a connection, both ends together",
            self.transitions_each
        ));
        Ok(())
    }

    /// Time in all eBPF programs of a tracer for each transition, in ns.
    fn cost_of(&self, tracer: &Tracer) -> Result<f64> {
        let before = tracer.program_cost()?;
        let churned = churn(self.seconds(4), 1)?;
        let after = tracer.program_cost()?;
        Ok((after.ns - before.ns) as f64 / (churned.connections as f64 * self.transitions_each))
    }

    fn kernel_cost(&mut self) -> Result<()> {
        let _counting = BpfStats::on()?;
        let mut watch = Row::new(
            'a',
            "kernel cost, tcpclose watch (all programs)",
            "ns/transition",
            vec![],
        );
        let mut classic = Row::new(
            'a',
            "kernel cost, tcpclose watch --no-btf",
            "ns/transition",
            vec![],
        );
        let mut tcpstates = Row::new('a', "kernel cost, tcpstates", "ns/transition", vec![]);
        for round in 1..=self.args.rounds() {
            announce(format_args!("a, round {round}"));
            watch
                .values
                .push(self.cost_of(&self.tcpclose(&["watch"], Stdio::null())?)?);
            tcpstates.values.push(self.cost_of(&self.tcpstates()?)?);
            classic
                .values
                .push(self.cost_of(&self.tcpclose(&["watch", "--no-btf"], Stdio::null())?)?);
        }
        let ratio = Row::new(
            'a',
            "tcpstates / tcpclose watch",
            "×",
            ratios(&tcpstates, &watch),
        )
        .demands("at least 25", |value| value >= 25.0);
        let classic_ratio = Row::new(
            'a',
            "tcpstates / tcpclose watch --no-btf",
            "×",
            ratios(&tcpstates, &classic),
        );
        self.rows
            .extend([watch, classic, tcpstates, ratio, classic_ratio]);
        Ok(())
    }

    /// The daemon, writing everything to a file.
    fn daemon(&self) -> Result<(Tracer, PathBuf)> {
        let file = self.directory.join("closes.json");
        let out = File::create(&file).context("cannot make a file for closes")?;
        Ok((
            self.tcpclose(&["watch", "--format", "json", "--netns", HERE], out)?,
            file,
        ))
    }

    fn connection_rate(&mut self) -> Result<()> {
        let mut untraced = Row::new('b', "connections, untraced", "1/s", vec![]);
        let mut daemon = Row::new(
            'b',
            "connections, tcpclose watch writing JSON",
            "1/s",
            vec![],
        );
        let mut tcpstates = Row::new('b', "connections, tcpstates", "1/s", vec![]);
        let duration = self.seconds(4);
        for round in 1..=self.args.rounds() {
            announce(format_args!("b, round {round}"));
            untraced.values.push(churn(duration, 1)?.rate());
            {
                let (_tracer, _file) = self.daemon()?;
                daemon.values.push(churn(duration, 1)?.rate());
            }
            let _tracer = self.tcpstates()?;
            tcpstates.values.push(churn(duration, 1)?.rate());
        }
        let percent = |row: &Row| {
            ratios(row, &untraced)
                .iter()
                .map(|ratio| ratio * 100.0)
                .collect()
        };
        let kept = Row::new('b', "tcpclose watch, of untraced", "%", percent(&daemon))
            .demands("at least 97", |value| value >= 97.0);
        let theirs = Row::new('b', "tcpstates, of untraced", "%", percent(&tcpstates));
        self.rows
            .extend([untraced, daemon, tcpstates, kept, theirs]);
        Ok(())
    }

    fn cpu(&mut self) -> Result<()> {
        let mut busy = Row::new('c', "CPU for 1 M transitions, JSON to a file", "s", vec![]);
        let mut idle = Row::new('c', "CPU when nothing happens", "% of a core", vec![]);
        let mut wakes = Row::new('c', "wake-ups when nothing happens", "1/s", vec![]);
        let mut resident = Row::new('c', "resident memory after the churn", "MiB", vec![]);
        for round in 1..=self.args.rounds() {
            announce(format_args!("c, round {round}"));
            let (tracer, file) = self.daemon()?;
            let before = tracer.cpu()?;
            let churned = churn(self.seconds(4), 1)?;
            // What is in the ring is part of it.
            thread::sleep(Duration::from_millis(500));
            let transitions = churned.connections as f64 * self.transitions_each;
            busy.values
                .push((tracer.cpu()? - before) / transitions * 1e6);
            resident.values.push(tracer.resident()? as f64 / 1024.0);
            tracer.stop()?;
            fs::remove_file(file)?;

            // A new one: ends in TIME_WAIT are looked after for a minute.
            let (tracer, _) = self.daemon()?;
            thread::sleep(Duration::from_secs(1));
            let (cpu, switches) = (tracer.cpu()?, tracer.wake_ups()?);
            let quiet = self.seconds(10);
            thread::sleep(quiet);
            let seconds = quiet.as_secs_f64();
            idle.values.push((tracer.cpu()? - cpu) / seconds * 100.0);
            wakes
                .values
                .push((tracer.wake_ups()? - switches) as f64 / seconds);
        }
        self.rows.extend([
            busy.demands("at most 1.5", |value| value <= 1.5),
            idle.demands("under 0.1", |value| value < 0.1),
            wakes.demands("under 3", |value| value < 3.0),
            resident,
        ]);
        Ok(())
    }

    fn losses(&mut self) -> Result<()> {
        announce("d: the fastest churn");
        let threads = thread::available_parallelism().map_or(2, |cpus| cpus.get() as u8);
        let mut tracer = self.tcpclose(
            &["watch", "--format", "json", "--netns", HERE],
            Stdio::piped(),
        )?;
        let stdout = tracer.take_stdout().context("it has no output")?;
        let counter = thread::spawn(move || {
            let mut closes = 0u64;
            for line in BufReader::with_capacity(1 << 20, stdout)
                .split(b'\n')
                .map_while(Result::ok)
            {
                closes += u64::from(line.starts_with(br#"{"v":1,"kind":"close""#));
            }
            closes
        });
        let Churned {
            connections,
            seconds,
        } = churn(self.seconds(60), threads)?;
        thread::sleep(Duration::from_secs(1));
        let said = tracer.stop()?;
        let closes = counter.join().ok().context("counting has failed")?;
        let losses = said
            .iter()
            .filter(|line| {
                ["lost", "skipped", "dropped", "not written"]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .inspect(|line| announce(line))
            .count();
        self.rows.extend([
            Row::new(
                'd',
                format!("connections of {threads} threads at once, {seconds:.0} s"),
                "1/s",
                vec![connections as f64 / seconds],
            ),
            Row::new('d', "messages of losses", "", vec![losses as f64])
                .demands("none", |value| value == 0.0),
            Row::new(
                'd',
                "ends told, of those that closed",
                "%",
                vec![closes as f64 / (2 * connections) as f64 * 100.0],
            ),
        ]);
        Ok(())
    }

    fn record(&self) -> Result<()> {
        announce("e: recording a churn");
        let file = self.directory.join(RECORDING);
        let file = file
            .to_str()
            .context("the target directory's name is no UTF-8")?;
        let tracer = Tracer::start(
            self.program,
            &["record", file, "--netns", HERE],
            Stdio::null(),
            Some("tcpclose: recording"),
        )?;
        churn(self.seconds(4), 1)?;
        thread::sleep(Duration::from_millis(500));
        tracer.stop()?;
        // Whoever started this is to read it, who may be another user.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file, mode)?;
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        announce("g: starting");
        let mut starts = Row::new('g', "from exec to attached", "ms", vec![]);
        for _ in 0..self.args.rounds().max(5) {
            let tracer = self.tcpclose(&["watch"], Stdio::null())?;
            starts
                .values
                .push(tracer.attached_after.as_secs_f64() * 1e3);
        }
        let size = fs::metadata(self.program)?.len() as f64 / 1_048_576.0;
        self.rows.extend([
            starts.demands("under 150", |value| value < 150.0),
            Row::new('g', "size of the program", "MiB", vec![size]),
        ]);
        Ok(())
    }
}
