//! What tcpclose costs, beside bcc's tcpstates and beside nothing, in turns.

mod agent;
mod baseline;
mod check;
mod churn;
mod connection_rate;
mod core;
mod daemon;
mod empty_program;
mod kernel_cost;
mod live_ends;
mod losses;
mod plot;
mod report;
mod testbed;
mod tracer;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    command::run, compile, demo::in_own_network, privilege::Privilege, test_deps,
    workspace::Workspace,
};
pub use check::Check;
use report::Row;

/// Arguments of `cargo xtask bench`.
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
    /// Only what hangs on no machine's speed, compared with the kept numbers; exits with 1 if something is a fifth worse
    #[arg(long, conflicts_with_all = ["only", "short", "rounds"])]
    check: bool,
    /// Keep the numbers of this check, to compare with from now on
    #[arg(long, requires = "check")]
    keep: bool,
    /// Measure as root in a namespace of its own, and leave the results in this directory
    #[arg(long, hide = true)]
    staged: Option<PathBuf>,
    /// Where the recorded churn goes, a short one
    #[arg(long, hide = true)]
    recording: Option<PathBuf>,
    /// Only hold connections open
    #[arg(long, hide = true)]
    hold: Option<String>,
}

impl Bench {
    /// Whether it is for a part of it, which needs no checkout.
    pub fn is_part(&self) -> bool {
        self.staged.is_some() || self.hold.is_some()
    }

    fn wants(&self, part: char) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 2 } else { 5 })
    }
}

/// Measures all, prints the table, and writes it, all values and the plot to target/bench.
pub fn bench(workspace: &Workspace, args: &Bench) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    if !privilege.can_start_programs() {
        bail!("measuring needs root, for eBPF and for a network namespace of its own");
    }
    test_deps::provide(privilege, "bench", true)?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => compile::build(workspace)?,
    };
    if args.check {
        let check = Check {
            workspace,
            program: Some(&program),
            required: true,
        };
        if args.keep {
            check.keep()?;
        } else if !check.compare()? {
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = staged(workspace, &program, |again| {
        again.arg(format!("--rounds={}", args.rounds()));
        if args.short {
            again.arg("--short");
        }
        let only = args.only.iter().map(|part| format!("--only={part}"));
        again.args(only);
    })?;
    let directory = workspace.target.join("bench");
    if args.wants('e') {
        rows.extend(core::speed(workspace, &directory.join(testbed::RECORDING))?);
    }
    let mut sizes = Vec::new();
    if args.wants('f') {
        sizes = core::live_ends(&core::built(workspace, "memory")?)?;
        rows.extend(core::memory_rows(&sizes));
        write(&directory.join("live-ends.svg"), &plot::svg(&sizes))?;
    }
    rows.sort_by_key(|row| row.part);
    let table = report::table(&rows, args.rounds());
    print!("{table}");
    write(&directory.join("table.md"), &table)?;
    report::write(
        &rows,
        &sizes,
        args.rounds(),
        &directory.join("results.json"),
    )?;
    println!(
        "\nthis table, all values and the plot are in {}",
        directory.display()
    );
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

/// Measures with `program` as root in a namespace of its own, what the arguments that `add` adds say.
fn staged(
    workspace: &Workspace,
    program: &Path,
    add: impl FnOnce(&mut Command),
) -> Result<Vec<Row>> {
    let directory = workspace.target.join("bench");
    fs::create_dir_all(&directory).context("cannot make target/bench")?;
    let results = directory.join(testbed::RESULTS);
    // Those of an earlier run are not this one's.
    let _ = fs::remove_file(&results);
    let own = env::current_exe().context("cannot find xtask itself")?;
    let mut again = in_own_network(Privilege::detect(), own, &["bench".into()])?;
    again.arg("--program").arg(program);
    again.arg("--staged").arg(&directory);
    add(&mut again);
    run(&mut again, "measuring as root")?;
    let results = fs::read(&results).context("the measurements have left no results")?;
    Row::all_from_json(&results)
}

/// Measures what needs root and a network, or plays a part in that.
pub fn part(args: &Bench) -> Result<ExitCode> {
    if let Some(what) = &args.hold {
        live_ends::hold(what)?;
    }
    let (Some(directory), Some(program)) = (&args.staged, &args.program) else {
        bail!("no program to measure");
    };
    testbed::measure(args, program, directory)?;
    Ok(ExitCode::SUCCESS)
}
