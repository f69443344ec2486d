//! What tcpclose costs, beside bcc's tcpstates and beside nothing, in turns.

mod agent;
mod args;
mod baseline;
mod check;
mod churn;
mod connection_rate;
mod core;
mod daemon;
mod empty_program;
mod kernel_cost;
pub mod leaks;
mod live_endpoints;
mod losses;
mod plot;
mod report;
mod root;
mod sizing;
mod storm;
mod testbed;
mod tracer;
mod views;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{compile, privilege::Privilege, test_deps, workspace::Workspace};
pub use args::Bench;
pub use check::Check;
use root::run_as_root;

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
            program: &program,
            required: true,
        };
        if args.keep {
            check.keep()?;
        } else if !check.compare()? {
            return Ok(ExitCode::FAILURE);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = run_as_root(workspace, &program, |again| {
        again.arg(format!("--rounds={}", args.rounds()));
        if args.short {
            again.arg("--short");
        }
        let only = args.only.iter().map(|part| format!("--only={part}"));
        again.args(only);
    })?;
    let directory = workspace.target.join("bench");
    if args.wants('e') {
        rows.extend(core::speed(
            workspace,
            &directory.join(testbed::RECORDING_FILE),
        )?);
    }
    let mut sizes = Vec::new();
    if args.wants('f') {
        sizes = core::live_endpoints(&core::built(workspace, "memory")?)?;
        rows.extend(core::memory_rows(&sizes));
        write(&directory.join("live-endpoints.svg"), &plot::svg(&sizes))?;
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

/// Runs a helper process: the measurements that need root and a namespace, or a holder of
/// connections.
pub fn run_helper(args: &Bench) -> Result<ExitCode> {
    if let Some(what) = &args.hold {
        live_endpoints::hold(what)?;
    }
    if let Some(what) = &args.storm {
        storm::connect_and_reset(what)?;
        return Ok(ExitCode::SUCCESS);
    }
    let (Some(directory), Some(program)) = (&args.results_directory, &args.program) else {
        bail!("no program to measure");
    };
    testbed::measure(args, program, directory)?;
    Ok(ExitCode::SUCCESS)
}
