//! What tcpclose costs, beside bcc's tcpstates and beside nothing, in turns.

mod churn;
mod core;
mod report;
mod stage;
mod tracer;

use std::{env, fs, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    admin::Admin,
    command::{exit_code, status},
    compile, counterparts,
    demo::in_own_network,
    workspace::Workspace,
};
use report::Row;

/// What `cargo xtask bench` takes.
#[derive(Args)]
pub struct Bench {
    /// Only these measurements: a kernel cost, b connection rate, c CPU and idleness, d losses, e core, f memory,
    /// g start and size
    #[arg(long, value_delimiter = ',', value_name = "LETTERS")]
    only: Vec<char>,
    /// Few and short rounds, to see that everything works; the numbers are rough
    #[arg(long)]
    short: bool,
    /// How often each is measured; 5 if not given
    #[arg(long)]
    rounds: Option<usize>,
    /// Measure this build of tcpclose
    #[arg(long)]
    program: Option<PathBuf>,
    /// Measure as root in a namespace of its own, and leave the results in this directory
    #[arg(long, hide = true)]
    staged: Option<PathBuf>,
}

impl Bench {
    /// Whether it is for the part in the namespace.
    pub fn is_part(&self) -> bool {
        self.staged.is_some()
    }

    fn wants(&self, part: char) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 2 } else { 5 })
    }
}

/// Measures all, prints the table, and writes target/bench/results.json.
pub fn bench(workspace: &Workspace, args: &Bench) -> Result<ExitCode> {
    let admin = Admin::detect();
    if !admin.can_start_programs() {
        bail!("measuring needs root, for eBPF and for a network namespace of its own");
    }
    counterparts::provide(admin, true)?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => compile::build(workspace)?,
    };
    let directory = workspace.target.join("bench");
    fs::create_dir_all(&directory).context("cannot make target/bench")?;
    let results = directory.join(stage::RESULTS);
    // Those of an earlier run are not this one's.
    let _ = fs::remove_file(&results);
    let own = env::current_exe().context("cannot find xtask itself")?;
    let only: String = args.only.iter().flat_map(|part| [*part, ',']).collect();
    let mut again = vec![
        "bench".into(),
        format!("--rounds={}", args.rounds()).into(),
        "--program".into(),
        program.into_os_string(),
        "--staged".into(),
        directory.clone().into_os_string(),
    ];
    if args.short {
        again.push("--short".into());
    }
    if !args.only.is_empty() {
        again.push(format!("--only={}", only.trim_end_matches(',')).into());
    }
    let code = exit_code(status(&mut in_own_network(admin, own, &again)?)?);
    if code != 0 {
        return Ok(ExitCode::from(code));
    }
    let results = fs::read(&results).context("the measurements have left no results")?;
    let mut rows = Row::all_from_json(&results)?;
    if args.wants('e') {
        rows.extend(core::speed(workspace, &directory.join(stage::RECORDING))?);
    }
    if args.wants('f') {
        rows.extend(core::memory(workspace)?);
    }
    rows.sort_by_key(|row| row.part);
    report::print(&rows, args.rounds());
    report::write(&rows, args.rounds(), &directory.join("results.json"))?;
    println!("\nall values: {}", directory.join("results.json").display());
    Ok(ExitCode::SUCCESS)
}

/// Measures what needs root and a network.
pub fn part(args: &Bench) -> Result<ExitCode> {
    let (Some(directory), Some(program)) = (&args.staged, &args.program) else {
        bail!("no program to measure");
    };
    stage::measure(args, program, directory)?;
    Ok(ExitCode::SUCCESS)
}
