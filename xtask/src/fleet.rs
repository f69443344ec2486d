//! Writes the records of a simulated fleet.

use std::{
    ffi::OsString,
    process::{Command, ExitCode},
};

use anyhow::Result;
use clap::Args;

use crate::{
    command::{announce, exit_code, run, status},
    ebpf::EbpfObject,
    workspace::Workspace,
};

const PACKAGE: &str = "tcpclose-fleet";

/// Arguments of `cargo xtask fleet`: those of the simulating program.
#[derive(Args)]
pub struct Fleet {
    /// `--hosts N --days D --seed S --closes-per-host-day N --summary-minutes N --begin DATE OUT`;
    /// `--help` explains them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Builds the simulation as fast as it can be, and runs it.
pub fn fleet(workspace: &Workspace, fleet: &Fleet) -> Result<ExitCode> {
    announce("fleet: compiling the simulation");
    let object = EbpfObject::provide(workspace)?;
    let mut cargo = workspace.cargo();
    object.hand_to(cargo.args(["build", "--release", "--quiet", "--package", PACKAGE]));
    run(&mut cargo, "compiling the simulation")?;
    let program = workspace.target.join("release").join(PACKAGE);
    let status = status(Command::new(program).args(&fleet.args))?;
    Ok(ExitCode::from(exit_code(status)))
}
