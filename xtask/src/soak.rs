//! The long form of the agent's soak test: minutes of churn in which every loss must be counted.

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    command::{announce, status},
    ebpf::EbpfObject,
    privilege::Privilege,
    test_runner,
    workspace::Workspace,
};

/// Arguments of `cargo xtask soak`.
#[derive(Args)]
pub struct Soak {
    /// Minutes of churn
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Force losses, which must be counted: the ring buffer overflows, outputs drop and cut
    #[arg(long)]
    losses: bool,
}

/// Runs the test, which prints its figures, as root. The exit code is 1 if they do not add up.
pub fn soak(workspace: &Workspace, args: &Soak) -> Result<ExitCode> {
    Ok(match is_good(workspace, args.minutes, args.losses)? {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Runs the test and returns whether its figures add up.
pub fn is_good(workspace: &Workspace, minutes: u64, losses: bool) -> Result<bool> {
    let privilege = Privilege::detect();
    if !privilege.can_start_programs() {
        bail!("the soak needs root for eBPF, and there is no sudo here: run this as root");
    }
    let object = EbpfObject::provide(workspace)?;
    let (test_name, how) = match losses {
        true => ("soak::soak_with_losses", ", with losses"),
        false => ("soak::soak", ""),
    };
    announce(format_args!("soak: {minutes} minutes of churn{how}"));
    let select = ["--test", "agent"].map(OsString::from);
    let programs = test_runner::build(workspace, &object, select)?;
    let program = programs
        .first()
        .context("cargo has built no tests of the agent")?;
    let mut command = program.command(Some(privilege));
    command
        .args(["--exact", "--nocapture", test_name])
        .env("TCPCLOSE_SOAK_SECONDS", (minutes * 60).to_string())
        .env(test_runner::REQUIRE_VARIABLE, "1");
    Ok(status(&mut command)?.success())
}
