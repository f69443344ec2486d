//! How long `tcpclose leaks` takes beside ss and lsof, on the same sockets, in turns; and how much
//! longer each takes when there are established sockets beside the stuck ones.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::{
    env, fs,
    io::Read as _,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use crate::{
    command::{announce, exit_code, find_program, status, stdout_of},
    compile,
    demo::{HelperProcess, in_own_network, ready_and_wait},
    privilege::Privilege,
    workspace::Workspace,
};

/// Processes that hold the stuck sockets.
const HOLDERS: usize = 3;
/// A process holds both sockets of each: two descriptors, of the 20,000 that it may have.
const CONNECTIONS_PER_PROCESS: usize = 9_500;

/// Arguments of `cargo xtask bench-leaks`.
#[derive(Args)]
pub struct BenchLeaks {
    /// Sockets in CLOSE_WAIT, in three processes
    #[arg(long, default_value_t = 45_000)]
    stuck: usize,
    /// Established sockets beside them, in as many processes as it takes
    #[arg(long, default_value_t = 100_000)]
    established: usize,
    /// How often each program runs
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Measure this build of tcpclose
    #[arg(long)]
    program: Option<PathBuf>,
    #[arg(long, hide = true)]
    in_own_netns: bool,
    /// Hold sockets: HOST, NUMBER, and `established` or `stuck`
    #[arg(long, hide = true, num_args = 3)]
    hold: Vec<String>,
}

/// Measures in a network namespace of its own, as root (through sudo for any other user).
pub fn bench_leaks(workspace: &Workspace, args: &BenchLeaks) -> Result<ExitCode> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => compile::build(workspace)?,
    };
    let own = env::current_exe().context("cannot find xtask itself")?;
    let again = [
        "bench-leaks".into(),
        "--in-own-netns".into(),
        format!("--stuck={}", args.stuck).into(),
        format!("--established={}", args.established).into(),
        format!("--rounds={}", args.rounds).into(),
        "--program".into(),
        program.into_os_string(),
    ];
    let code = exit_code(status(&mut in_own_network(
        Privilege::detect(),
        own,
        &again,
    )?)?);
    Ok(ExitCode::from(code))
}

impl BenchLeaks {
    /// Returns whether this is a helper process of the measurement.
    pub fn is_helper_process(&self) -> bool {
        self.in_own_netns || !self.hold.is_empty()
    }
}

/// Runs a helper process: the measurement inside the namespace, or a holder of sockets.
pub fn run_helper(args: &BenchLeaks) -> Result<ExitCode> {
    match (&*args.hold, &args.program) {
        ([host, number, kind], _) => hold(host.parse()?, number.parse()?, kind == "established"),
        (_, Some(program)) => measure(args, program),
        _ => bail!("no program to measure"),
    }
}

/// One of the programs that are compared.
struct MeasuredTool {
    /// What it ends with when all is well: `leaks` found something.
    code: i32,
    name: String,
    program: PathBuf,
    args: Vec<&'static str>,
    /// Of the stuck sockets alone, and with the established ones beside them.
    times: [Vec<Duration>; 2],
    /// Most memory that it ever had, in KiB.
    memory: u64,
}

fn measure(args: &BenchLeaks, program: &Path) -> Result<ExitCode> {
    announce(format_args!(
        "making {} stuck and {} established sockets",
        args.stuck, args.established
    ));
    // The peers of the stuck sockets are gone after a second, not after a minute.
    fs::write("/proc/sys/net/ipv4/tcp_fin_timeout", "1").context("cannot set tcp_fin_timeout")?;
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65000")
        .context("cannot widen the port range")?;
    let mut holders = Vec::new();
    for holder in 0..HOLDERS {
        let number = args.stuck / HOLDERS + usize::from(holder < args.stuck % HOLDERS);
        holders.push(start_holder(holders.len(), number, "stuck")?);
    }
    thread::sleep(Duration::from_secs(4));
    let mut tools = tools(program);
    check_count(args, program)?;
    measure_stage(args, &mut tools, 0)?;

    let mut pairs = args.established / 2;
    while pairs > 0 {
        let number = pairs.min(CONNECTIONS_PER_PROCESS);
        holders.push(start_holder(holders.len(), number, "established")?);
        pairs -= number;
    }
    if args.established > 0 {
        check_count(args, program)?;
        measure_stage(args, &mut tools, 1)?;
    }
    Ok(if report(args, &tools) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// All of them in turns.
fn measure_stage(args: &BenchLeaks, tools: &mut [MeasuredTool], stage: usize) -> Result<()> {
    for round in 0..=args.rounds {
        for tool in &mut *tools {
            tool.run(stage, round == 0)?;
        }
    }
    Ok(())
}

fn start_holder(number: usize, sockets: usize, kind: &str) -> Result<HelperProcess> {
    let host = Ipv4Addr::new(127, 0, 1, u8::try_from(number + 1)?);
    HelperProcess::start(&[
        "bench-leaks",
        "--hold",
        &host.to_string(),
        &sockets.to_string(),
        kind,
    ])
}

fn tools(program: &Path) -> Vec<MeasuredTool> {
    let tool = |path: &Path, name: &str, args: &[&'static str]| MeasuredTool {
        code: i32::from(name == "tcpclose"),
        name: format!("{name} {}", args.join(" ")),
        program: path.to_owned(),
        args: args.to_vec(),
        times: [vec![], vec![]],
        memory: 0,
    };
    let mut all = vec![
        tool(program, "tcpclose", &["leaks", "--min-age", "1s"]),
        tool(
            program,
            "tcpclose",
            &["leaks", "--min-age", "1s", "--format", "json"],
        ),
    ];
    let others: [(&str, &[&str]); 6] = [
        ("ss", &["-tanp", "state", "close-wait"]),
        ("lsof", &["-nP", "-iTCP", "-sTCP:CLOSE_WAIT"]),
        // The kernel's own list of the same sockets, with the fields that `leaks` asks for, and
        // nothing else.
        ("ss", &["-tani", "state", "close-wait"]),
        ("ss", &["-tan", "state", "close-wait"]),
        ("ss", &["-tan"]),
        ("ss", &["-tanp"]),
    ];
    for (name, args) in others {
        match find_program(name) {
            Some(path) => all.push(tool(&path, name, args)),
            None => announce(format_args!("there is no {name} here to compare with")),
        }
    }
    all
}

/// That all are found is part of the measurement. The kernel resets one or two of 45,000 while they
/// are made.
fn check_count(args: &BenchLeaks, program: &Path) -> Result<()> {
    let listed = stdout_of(Command::new("ss").args(["-Htan", "state", "close-wait"]))?;
    let there = listed.lines().count();
    ensure!(
        args.stuck - there <= args.stuck / 1_000,
        "only {there} of {} sockets are stuck",
        args.stuck
    );
    let output = Command::new(program)
        .args(["leaks", "--min-age", "1s", "--netns", "/proc/self/ns/net"])
        .output()
        .context("cannot start tcpclose")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let total = format!("{there} sockets stuck");
    ensure!(
        text.contains(&total),
        "tcpclose did not find all:\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

impl MeasuredTool {
    /// The first run of a stage is not timed.
    fn run(&mut self, stage: usize, first: bool) -> Result<()> {
        let begun = Instant::now();
        let child = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name))?;
        let (code, memory) = wait_for(child)?;
        if !first {
            self.times[stage].push(begun.elapsed());
        }
        self.memory = self.memory.max(memory);
        ensure!(
            code == Some(self.code),
            "{} has failed: exit code {code:?}",
            self.name
        );
        Ok(())
    }

    fn median_ms(&self, stage: usize) -> Option<f64> {
        let mut times = self.times[stage].clone();
        times.sort_unstable();
        Some(times.get(times.len() / 2)?.as_secs_f64() * 1e3)
    }

    /// Median of the ratios of the runs that were next to each other.
    fn ratio_to(&self, other: &Self, stage: usize) -> Option<f64> {
        let pairs = self.times[stage].iter().zip(&other.times[stage]);
        let mut ratios: Vec<f64> = pairs
            .map(|(own, other)| own.as_secs_f64() / other.as_secs_f64())
            .collect();
        ratios.sort_unstable_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied()
    }

    /// By how many milliseconds it takes longer beside the established sockets.
    fn growth_ms(&self) -> Option<f64> {
        Some(self.median_ms(1)? - self.median_ms(0)?)
    }
}

/// Waits for a program; its exit code, and the most memory that it had, resident, in KiB.
fn wait_for(mut child: Child) -> Result<(Option<i32>, u64)> {
    // lsof warns of file systems that it may not read.
    let mut messages = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut messages)?;
    }
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which zeros are values.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both point to memory of ours. Nobody has waited for the child, so its number is its
    // own.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    ensure!(waited == pid, "cannot wait for a program");
    let code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
    Ok((code, u64::try_from(usage.ru_maxrss)?))
}

/// Prints the table. Returns whether all demands are met.
fn report(args: &BenchLeaks, tools: &[MeasuredTool]) -> bool {
    println!(
        "{} sockets in CLOSE_WAIT in {HOLDERS} processes, then {} established beside them; {} runs of each, in turns",
        args.stuck, args.established, args.rounds
    );
    println!(
        "{:<42} {:>9} {:>7} {:>12} {:>7} {:>9} {:>9}",
        "", "alone", "ratio", "beside them", "ratio", "growth", "memory"
    );
    let ms = |ms: Option<f64>| ms.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
    for tool in tools {
        println!(
            "{:<42} {:>9} {:>7} {:>12} {:>7} {:>9} {:>5.1} MiB",
            tool.name,
            ms(tool.median_ms(0)),
            ratio(tool.ratio_to(&tools[0], 0)),
            ms(tool.median_ms(1)),
            ratio(tool.ratio_to(&tools[0], 1)),
            ms(tool.growth_ms()),
            tool.memory as f64 / 1024.0,
        );
    }
    println!("ratio: to the first line, in the same round");
    let demands = demands(tools);
    for (name, met) in &demands {
        println!("{} {name}", if *met { "met:    " } else { "not met:" });
    }
    demands.iter().all(|(_, met)| *met)
}

/// The demands on the first tool, and whether each is met.
fn demands(tools: &[MeasuredTool]) -> Vec<(String, bool)> {
    let own = &tools[0];
    let find = |name: &str| tools.iter().find(|other| other.name == name);
    let mut demands = Vec::new();
    for name in [
        "ss -tanp state close-wait",
        "lsof -nP -iTCP -sTCP:CLOSE_WAIT",
    ] {
        demands.push(match find(name).and_then(|other| other.ratio_to(own, 0)) {
            Some(ratio) => {
                let demand = format!("at most half of `{name}`: {:.2} of it", 1.0 / ratio);
                (demand, ratio >= 2.0)
            }
            None => (format!("at most half of `{name}`: that is not here"), false),
        });
    }
    let memory = own.memory as f64 / 1024.0;
    let demand = format!("under 64 MB: {memory:.1} MiB");
    demands.push((demand, memory * 1.048_576 < 64.0));
    // The kernel's own dump is that of all sockets. What the filtered one grows by is in the table.
    let dump = "ss -tan";
    if let Some((growth, other)) = own
        .growth_ms()
        .zip(find(dump).and_then(MeasuredTool::growth_ms))
    {
        let demand = format!("grows no more than `{dump}`: {growth:.0} ms and {other:.0} ms");
        demands.push((demand, growth <= other));
    }
    demands
}

/// Holds sockets that are stuck, or both sockets of established connections.
fn hold(host: Ipv4Addr, number: usize, pairs: bool) -> Result<ExitCode> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
    let port = listener.local_addr()?.port();
    let [.., holder] = host.octets();
    let mut held = Vec::with_capacity(number);
    let mut clients = Vec::new();
    for at in 0..number {
        // An address for each: a SYN from the port of a client that is gone would reset the stuck
        // socket.
        let [high, low] = u16::try_from(at)?.to_be_bytes();
        let address = Ipv4Addr::new(127, holder, high, low);
        let client = TcpStream::connect((address, port)).context("cannot connect")?;
        let (mut connection, _) = listener.accept().context("cannot accept")?;
        if pairs {
            clients.push(client);
        } else {
            drop(client);
            let end = connection.read(&mut [0])?;
            ensure!(end == 0, "nothing was sent");
        }
        held.push(connection);
    }
    ready_and_wait()
}
