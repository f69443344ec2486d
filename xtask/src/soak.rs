//! The long form of the agent's soak test: minutes of churn, in which nothing may get lost uncounted.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    command::{announce, status},
    compile::{Ebpf, OBJECT_VARIABLE},
    privilege::Privilege,
    test::{REQUIRE_VARIABLE, as_root},
    workspace::Workspace,
};

/// What `cargo xtask soak` takes.
#[derive(Args)]
pub struct Soak {
    /// For how long
    #[arg(long, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: u64,
    /// Force losses, which must be counted: the ring buffer overflows, outputs drop and cut
    #[arg(long)]
    losses: bool,
}

/// Runs the test, which prints its figures, as root. The exit code is 1 if they do not add up.
pub fn soak(workspace: &Workspace, args: &Soak) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    if !privilege.can_start_programs() {
        bail!("the soak needs root for eBPF, and there is no sudo here: run this as root");
    }
    let object = Ebpf::prepare(workspace)?.compile(workspace)?;
    let (test_name, how) = match args.losses {
        true => ("soak::soak_with_losses", ", with losses"),
        false => ("soak::soak", ""),
    };
    announce(format_args!("soak: {} minutes of churn{how}", args.minutes));
    let mut test = workspace.cargo();
    test.args(["test", "--package", "tcpclose", "--test", "agent"])
        .args(["--", "--exact", "--nocapture", test_name])
        .env(OBJECT_VARIABLE, object)
        .env("TCPCLOSE_SOAK_SECONDS", (args.minutes * 60).to_string())
        .env(REQUIRE_VARIABLE, "1")
        .envs(as_root(privilege)?);
    Ok(match status(&mut test)?.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
