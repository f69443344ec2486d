//! `cargo xtask …`: builds, runs and tests tcpclose on a machine that has nothing but a Rust
//! toolchain.

#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "printing is what it is for"
)]

mod apt;
mod arch;
mod bench;
mod bpf_linker;
mod chart_tools;
mod command;
mod compile;
mod debian_mirror;
mod demo;
mod ebpf;
mod ebpf_compiler;
mod files;
mod fleet;
mod fleet_engines;
mod needs;
mod package;
mod parity;
mod privilege;
mod python;
mod registries;
mod run;
mod screens;
mod soak;
mod static_target;
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
    Build {
        /// Compile the eBPF programs, too, instead of taking those that are kept in the tree
        #[arg(long)]
        from_source: bool,
    },
    /// Compile the eBPF programs and keep them in the tree, in tracer-sys/ebpf: after each change
    /// of their sources
    Ebpf,
    /// Build, then run `tcpclose watch`, as root (through sudo for any other user)
    BuildAndRun {
        /// Run `tcpclose ARGS` instead
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Make the packages of a release in target/packages: tarballs, .deb, .rpm, a container image
    Package(package::Package),
    /// Install what the tests need, then run them, in stages
    Test(test::Test),
    /// Run the kernel tests on other kernels, each in a virtual machine
    VmTest {
        /// 5.10, 6.1, 6.12, arm64, 6.12-rt, backports or arm64-16k; all of them if none is named
        kernels: Vec<String>,
        /// Arguments for the tests' runner, such as a name to filter by
        #[arg(last = true)]
        args: Vec<OsString>,
    },
    /// Show tcpclose on a server that leaks, in a network namespace of its own
    Demo(demo::Demo),
    /// Draw the pictures of the README from what the program really writes, in docs/screens
    Screenshots(screens::Screenshots),
    /// Compare tcpclose's records of closes with captures of them; exit with 1 if a record is wrong
    Parity(parity::Parity),
    /// Write the records that the agents of a simulated fleet would write, and the truth about it
    #[command(disable_help_flag = true)]
    Fleet(fleet::Fleet),
    /// Measure what tracing costs, compared with tcpstates and with no tracer
    Bench(bench::Bench),
    /// Run the agent beside a churn of connections for minutes; exit with 1 if its numbers do not
    /// add up
    Soak(soak::Soak),
    /// Measure `tcpclose leaks` beside ss and lsof
    BenchLeaks(bench::leaks::BenchLeaks),
}

/// The exit code for "could not run", the same as tcpclose's own.
const EXIT_COULD_NOT_RUN: u8 = 2;

fn main() -> ExitCode {
    match run_task(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(EXIT_COULD_NOT_RUN)
        }
    }
}

fn run_task(task: Task) -> Result<ExitCode> {
    // Helper processes run as root, for whom cargo may not be installed.
    match &task {
        Task::Demo(args) if args.is_helper_process() => return demo::run_helper(args),
        Task::Bench(args) if args.is_helper_process() => return bench::run_helper(args),
        Task::BenchLeaks(args) if args.is_helper_process() => {
            return bench::leaks::run_helper(args);
        }
        Task::Screenshots(args) if args.is_helper_process() => return screens::run_helper(args),
        _ => {}
    }
    let workspace = Workspace::find()?;
    match task {
        Task::Build { from_source: true } => {
            compile::build_from_source(&workspace).map(|_| ExitCode::SUCCESS)
        }
        Task::Build { from_source: false } => compile::build(&workspace).map(|_| ExitCode::SUCCESS),
        Task::Ebpf => ebpf::keep(&workspace).map(|()| ExitCode::SUCCESS),
        Task::BuildAndRun { args } => run::build_and_run(&workspace, args),
        Task::Demo(args) => demo::demo(&workspace, &args),
        Task::Bench(args) => bench::bench(&workspace, &args),
        Task::BenchLeaks(args) => bench::leaks::bench_leaks(&workspace, &args),
        Task::Fleet(args) => fleet::fleet(&workspace, &args),
        Task::Package(args) => package::package(&workspace, &args).map(|_| ExitCode::SUCCESS),
        Task::Parity(args) => parity::parity(&workspace, &args),
        Task::Screenshots(args) => screens::screenshots(&workspace, &args),
        Task::Soak(args) => soak::soak(&workspace, &args),
        Task::Test(args) => test::test(&workspace, &args),
        Task::VmTest { kernels, args } => vm::vm_test(&workspace, &kernels, &args),
    }
}
