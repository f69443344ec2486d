//! What is measured as root, in a network namespace of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Bench,
    agent::{Agent, Writes},
    churn::{self, Ends, churn},
    report::{self, Row},
    tracer::Tracer,
};
use crate::command::{announce, find_program, run};

/// The results, for whoever started this.
pub const RESULTS: &str = "stage.json";
/// A churn, for the core's bench.
pub const RECORDING: &str = "churn.rec";

/// Of the recording that is kept in the repository: some 60 KiB.
const KEPT_CONNECTIONS: u64 = 250;

/// Counts the run time of eBPF programs; it costs some ten nanoseconds a run itself.
pub const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Our own namespace: what else happens on the machine is not measured.
const HERE: &str = "/proc/self/ns/net";
/// Where the tracepoints are described.
const TRACEFS: &str = "/sys/kernel/tracing";
/// What tcpclose says when it is attached.
const WATCHING: &str = "tcpclose: watching";

/// Where everything of one run is measured.
pub struct Stage<'a> {
    pub args: &'a Bench,
    pub program: &'a Path,
    pub directory: &'a Path,
    tcpstates: PathBuf,
    pub rows: Vec<Row>,
}

/// Measures, and leaves results and recording in `directory`.
pub fn measure(args: &Bench, program: &Path, directory: &Path) -> Result<()> {
    // A port is free again after a second on loopback; with many of them that is soon enough.
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65000")
        .context("cannot widen the port range")?;
    mount_tracefs()?;
    let mut stage = Stage {
        args,
        program,
        directory,
        tcpstates: find_program("tcpstates").context("there is no tcpstates here")?,
        rows: Vec::new(),
    };
    // Before anything has happened here: ends in TIME_WAIT are looked after for a minute.
    if args.wants('c') {
        stage.idleness()?;
    }
    if args.wants('g') {
        let size = fs::metadata(program)?.len() as f64 / 1_048_576.0;
        let row = stage.starts("from exec to attached")?;
        stage.rows.extend([
            row.demands("under 150", |value| value < 150.0),
            Row::new('g', "size of the program", "MiB", vec![size]),
        ]);
    }
    if args.wants('e') {
        stage.record()?;
    }
    announce("warming up");
    churn(Duration::from_secs(1), Ends::OneThread)?;
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
    // The sockets that are there already are looked at first.
    if args.wants('g') && args.wants('d') {
        let row = stage.starts("from exec to attached, after the fastest churn")?;
        stage.rows.push(row);
    }
    // Last: it leaves a million sockets for the kernel to clear away.
    if args.wants('f') {
        stage.live_ends()?;
    }
    report::write(
        &stage.rows,
        &[(); 0],
        args.rounds(),
        &directory.join(RESULTS),
    )
}

/// tcpstates and the classic tracepoint need it. The mount namespace is the testbed's own.
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
pub struct BpfStats(String);

impl BpfStats {
    /// Switches it on.
    pub fn on() -> Result<Self> {
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
    /// So long, or a quarter of it in a short run.
    pub fn seconds(&self, whole: u64) -> Duration {
        Duration::from_secs(if self.args.short {
            whole.div_ceil(4)
        } else {
            whole
        })
    }

    /// `tcpclose ARGS` that says that it watches.
    pub fn tcpclose(&self, args: &[&str]) -> Result<Tracer> {
        Tracer::start(self.program, args, Stdio::null(), Some(WATCHING))
    }

    /// bcc's tcpstates.
    pub fn tcpstates(&self) -> Result<Tracer> {
        Tracer::start(&self.tcpstates, &[], Stdio::null(), None)
    }

    /// The daemon.
    pub fn agent(&self, writes: Writes) -> Result<Agent> {
        Agent::start(self.program, self.directory, writes)
    }

    /// Transitions of one connection, both ends together: tcpstates' program runs once for each.
    pub fn transitions_each(&self, ends: Ends) -> Result<f64> {
        let _counting = BpfStats::on()?;
        let tracer = self.tcpstates()?;
        let before = tracer.program_cost()?;
        let churned = churn(Duration::from_secs(1), ends)?;
        let after = tracer.program_cost()?;
        let transitions = after.most_runs - before.most_runs;
        ensure!(transitions > 0, "tcpstates has seen nothing");
        let each = transitions as f64 / churned.connections as f64;
        announce(format_args!(
            "{each:.2} transitions a connection, both ends together"
        ));
        Ok(each)
    }

    fn record(&self) -> Result<()> {
        announce("e: recording a churn");
        let file = match &self.args.recording {
            Some(file) => file,
            None => &self.directory.join(RECORDING),
        };
        let path = file.to_str().context("the recording's path is no UTF-8")?;
        let tracer = Tracer::start(
            self.program,
            &["record", path, "--netns", HERE],
            Stdio::null(),
            Some("tcpclose: recording"),
        )?;
        match self.args.recording {
            Some(_) => churn::make_some(KEPT_CONNECTIONS)?,
            None => drop(churn(self.seconds(4), Ends::TwoThreads)?),
        }
        thread::sleep(Duration::from_millis(500));
        tracer.stop()?;
        // Whoever started this is to read it, who may be another user.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file, mode)?;
        Ok(())
    }

    fn starts(&self, what: &str) -> Result<Row> {
        announce("g: starting");
        let start = |_| {
            let tracer = self.tcpclose(&["watch"])?;
            Ok(tracer.attached_after.as_secs_f64() * 1e3)
        };
        let times: Result<_> = (0..self.args.rounds().max(5)).map(start).collect();
        Ok(Row::new('g', what, "ms", times?))
    }
}
