//! `cargo xtask …`: builds, runs and tests tcpclose on a machine that has nothing but a Rust toolchain.

mod apt;
mod bench;
mod bench_leaks;
mod bpf_linker;
mod command;
mod compile;
mod demo;
mod ebpf_compiler;
mod parity;
mod privilege;
mod run;
mod soak;
mod test;
mod test_deps;
mod test_runner;
mod tool;
mod vm;
mod workspace;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, runs and tests tcpclose. Everything it makes is below target/.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build target/release/tcpclose, one file with the eBPF programs inside
    Build,
    /// Build, then run `tcpclose watch`, as root (through sudo for any other user)
    BuildAndRun {
        /// Run `tcpclose ARGS` instead
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Install what the tests need, then run them, in stages
    Test(test::Test),
    /// Run the kernel tests on other kernels, each in a virtual machine
    VmTest {
        /// 5.10, 6.1 or 6.12; all of them if none is named
        kernels: Vec<String>,
        /// Arguments for the tests' runner, such as a name to filter by
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Show tcpclose at work in a small scene, in a network namespace of its own
    Demo(demo::Demo),
    /// Compare tcpclose's records of closes with captures of them; exit with 1 if a record is wrong
    Parity(parity::Parity),
    /// Measure what tracing costs, compared with tcpstates and with no tracer
    Bench(bench::Bench),
    /// Run the agent beside a churn of connections for minutes; exit with 1 if its numbers do not add up
    Soak(soak::Soak),
    /// Measure `tcpclose leaks` beside ss and lsof
    BenchLeaks(bench_leaks::BenchLeaks),
}

/// The exit code for "could not run", the same as tcpclose's own.
const COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    // Parts of a scene: cargo need not be there for root.
    match &task {
        Task::Demo(args) if args.is_part() => return demo::part(args),
        Task::Bench(args) if args.is_part() => return bench::part(args),
        Task::BenchLeaks(args) if args.is_part() => return bench_leaks::part(args),
        _ => {}
    }
    let workspace = Workspace::find()?;
    match task {
        Task::Build => compile::build(&workspace).map(|_| ExitCode::SUCCESS),
        Task::BuildAndRun { args } => run::build_and_run(&workspace, args),
        Task::Demo(args) => demo::demo(&workspace, &args),
        Task::Bench(args) => bench::bench(&workspace, &args),
        Task::BenchLeaks(args) => bench_leaks::bench_leaks(&workspace, &args),
        Task::Parity(args) => parity::parity(&workspace, &args),
        Task::Soak(args) => soak::soak(&workspace, &args),
        Task::Test(args) => test::test(&workspace, &args),
        Task::VmTest { kernels, args } => vm::vm_test(&workspace, &kernels, &args),
    }
}
