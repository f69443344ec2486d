//! `cargo xtask …`: builds, runs and tests tcpclose on a machine that has nothing but a Rust toolchain.

mod admin;
mod apt;
mod bpf_linker;
mod command;
mod compile;
mod counterparts;
mod debian_compiler;
mod ebpf_compiler;
mod run;
mod rustup_compiler;
mod test;
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
    /// Install what the tests need, then run all of them
    Test {
        /// Arguments for the integration tests' runner, such as a name to filter by
        #[arg(last = true)]
        args: Vec<OsString>,
    },
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
    let workspace = Workspace::find()?;
    match task {
        Task::Build => compile::build(&workspace).map(|_| ExitCode::SUCCESS),
        Task::BuildAndRun { args } => run::build_and_run(&workspace, args),
        Task::Test { args } => test::test(&workspace, &args),
    }
}
