//! What is measured as root, in a network namespace of its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    agent::{Agent, Writes},
    args::Bench,
    churn::{self, ClosePattern, churn},
    report::{self, Row},
    tracer::Tracer,
};
use crate::command::{announce, find_program, run};
use tcpclose_kit::netns::NetNs;

/// The results, for the process that started this one.
pub const RESULTS_FILE: &str = "testbed.json";
/// A churn, for the core's bench.
pub const RECORDING_FILE: &str = "churn.rec";

/// The kept recording has some 60 KiB.
const CONNECTIONS_IN_KEPT_RECORDING: u64 = 250;

/// Network namespaces besides those of the host.
const MANY_NAMESPACES: usize = 500;

/// Counts the run time of eBPF programs; it costs some ten nanoseconds a run itself.
pub const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";
/// Our own namespace: what else happens on the machine is not measured.
const OWN_NETNS: &str = "/proc/self/ns/net";
/// Where the tracepoints are described.
const TRACEFS: &str = "/sys/kernel/tracing";
/// What `tcpclose watch` prints when it is attached.
const WATCH_READY_MESSAGE: &str = "tcpclose: watching";

/// What the measurements of one run share.
pub struct Testbed<'a> {
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
    let mut testbed = Testbed {
        args,
        program,
        directory,
        tcpstates: find_program("tcpstates").context("there is no tcpstates here")?,
        rows: Vec::new(),
    };
    // Before anything has happened here: endpoints in TIME_WAIT are tracked for a minute.
    if args.wants('c') {
        testbed.idleness()?;
    }
    if args.wants('g') {
        let size = fs::metadata(program)?.len() as f64 / 1_048_576.0;
        let row = testbed.starts("from exec to attached")?;
        let with_many = testbed.starts_with_many_namespaces(&row)?;
        testbed.rows.extend([
            row.demands("under 150", |value| value < 150.0),
            with_many.demands("at most 2", |value| value <= 2.0),
            Row::new('g', "size of the program", "MiB", vec![size]),
        ]);
    }
    // No churn has left endpoints in TIME_WAIT behind yet, which cost an agent something, too.
    if args.wants('h') {
        testbed.sizing()?;
    }
    if args.wants('e') {
        testbed.record()?;
    }
    announce("warming up");
    churn(Duration::from_secs(1), ClosePattern::OneThread)?;
    if args.wants('a') {
        testbed.kernel_cost()?;
    }
    if args.wants('b') {
        testbed.connection_rate()?;
    }
    if args.wants('c') {
        testbed.cpu()?;
    }
    if args.wants('j') {
        testbed.views()?;
    }
    if args.wants('d') {
        testbed.losses()?;
    }
    if args.wants('i') {
        testbed.storm()?;
    }
    // They are learnt afterwards.
    if args.wants('g') && args.wants('d') {
        let row = testbed.starts("from exec to attached, after the fastest churn")?;
        testbed.rows.push(row);
    }
    // Last: it leaves a million sockets for the kernel to clear away.
    if args.wants('f') {
        testbed.live_endpoints()?;
    }
    report::write(
        &testbed.rows,
        &[(); 0],
        args.rounds(),
        &directory.join(RESULTS_FILE),
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

impl Testbed<'_> {
    /// So long, or a quarter of it in a short run.
    pub fn seconds(&self, whole: u64) -> Duration {
        Duration::from_secs(if self.args.short {
            whole.div_ceil(4)
        } else {
            whole
        })
    }

    /// Starts `tcpclose ARGS` and waits until it is attached.
    pub fn tcpclose(&self, args: &[&str]) -> Result<Tracer> {
        Tracer::start(self.program, args, Stdio::null(), Some(WATCH_READY_MESSAGE))
    }

    /// bcc's tcpstates.
    pub fn tcpstates(&self) -> Result<Tracer> {
        Tracer::start(&self.tcpstates, &[], Stdio::null(), None)
    }

    /// The daemon.
    pub fn agent(&self, writes: Writes) -> Result<Agent> {
        Agent::start(self.program, self.directory, writes)
    }

    /// Transitions of one connection, both endpoints together: tcpstates' program runs once for
    /// each.
    pub fn transitions_per_connection(&self, pattern: ClosePattern) -> Result<f64> {
        let _counting = BpfStats::on()?;
        let tracer = self.tcpstates()?;
        let before = tracer.program_cost()?;
        let churned = churn(Duration::from_secs(1), pattern)?;
        let after = tracer.program_cost()?;
        let transitions = after.max_runs - before.max_runs;
        ensure!(transitions > 0, "tcpstates has seen nothing");
        let each = transitions as f64 / churned.connections as f64;
        announce(format_args!(
            "{each:.2} transitions a connection, both endpoints together"
        ));
        Ok(each)
    }

    fn record(&self) -> Result<()> {
        announce("e: recording a churn");
        let file = match &self.args.recording {
            Some(file) => file,
            None => &self.directory.join(RECORDING_FILE),
        };
        let path = file.to_str().context("the recording's path is no UTF-8")?;
        let tracer = Tracer::start(
            self.program,
            &["record", path, "--netns", OWN_NETNS],
            Stdio::null(),
            Some("tcpclose: recording"),
        )?;
        match self.args.recording {
            Some(_) => churn::make_some(CONNECTIONS_IN_KEPT_RECORDING)?,
            None => drop(churn(self.seconds(4), ClosePattern::TwoThreads)?),
        }
        thread::sleep(Duration::from_millis(500));
        tracer.stop()?;
        // The user who started this, who may not be root, reads it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        fs::set_permissions(file, mode)?;
        Ok(())
    }

    /// The same with many more namespaces, which are looked into only afterwards.
    fn starts_with_many_namespaces(&self, few: &Row) -> Result<Row> {
        let namespaces: io::Result<Vec<_>> =
            (0..MANY_NAMESPACES).map(|_| NetNs::try_new()).collect();
        let _namespaces = namespaces.context("cannot make network namespaces")?;
        let many = self.starts("from exec to attached")?;
        let what = format!("the same with {MANY_NAMESPACES} more network namespaces");
        let ratio = many.median() / few.median();
        Ok(Row::new('g', what, "times", vec![ratio]))
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
