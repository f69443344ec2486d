//! Compares tcpclose's records with captures of the same closes.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    command::{announce, exit_code, run, status},
    compile,
    privilege::Privilege,
    test_deps,
    workspace::Workspace,
};

const PACKAGE: &str = "tcpclose-parity";

/// Arguments of `cargo xtask parity`. The comparing program has their defaults.
#[derive(Args, Default)]
pub struct Parity {
    /// How many connections to make and close, or how often to visit a program; 2000 if not given
    #[arg(long, value_name = "N")]
    closes: Option<u64>,

    /// Seed of the workload: the same seed makes the same closes; 1 if not given
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// How many FINs and ACKs get lost on the way, in percent; none if not given
    #[arg(long, value_name = "P")]
    drop: Option<u32>,

    /// Have real programs make the closes: web servers, databases and others, as far as they are
    /// installed
    #[arg(long, conflicts_with = "drop")]
    programs: bool,

    /// Also print in full what is misjudged, unknown or missing
    #[arg(long)]
    all: bool,

    /// Keep captures, records and recordings in this directory
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

impl Parity {
    fn passed_arguments(&self) -> Vec<OsString> {
        let Self {
            closes,
            seed,
            drop,
            programs,
            all,
            keep,
        } = self;
        let mut args: Vec<OsString> = Vec::new();
        let numbers = [
            ("--closes", closes.map(|number| number.to_string())),
            ("--seed", seed.map(|number| number.to_string())),
            ("--drop", drop.map(|number| number.to_string())),
        ];
        for (name, number) in numbers {
            args.extend(
                number
                    .into_iter()
                    .flat_map(|number| [name.into(), number.into()]),
            );
        }
        if *programs {
            args.push("--programs".into());
        }
        if *all {
            args.push("--all".into());
        }
        args.extend(keep.iter().flat_map(|keep| ["--keep".into(), keep.into()]));
        args
    }
}

/// Builds both programs as this user and compares as root. The exit code is 1 if anything that
/// tcpclose claims is contradicted.
pub fn parity(workspace: &Workspace, args: &Parity) -> Result<ExitCode> {
    Ok(ExitCode::from(compare(workspace, args)?))
}

/// Compares `closes` closes, with `drop` percent of their FINs and ACKs lost on the way. Returns
/// whether no record is contradicted.
pub fn is_good(workspace: &Workspace, closes: u64, drop: u32) -> Result<bool> {
    let args = Parity {
        closes: Some(closes),
        drop: Some(drop),
        ..Parity::default()
    };
    Ok(compare(workspace, &args)? == 0)
}

/// Compares the closes of real programs over `visits` visits. Returns whether no record is
/// contradicted.
pub fn is_good_with_programs(workspace: &Workspace, visits: u64) -> Result<bool> {
    let args = Parity {
        closes: Some(visits),
        programs: true,
        ..Parity::default()
    };
    Ok(compare(workspace, &args)? == 0)
}

fn compare(workspace: &Workspace, args: &Parity) -> Result<u8> {
    let privilege = Privilege::detect();
    if !privilege.can_start_programs() {
        bail!(
            "making network namespaces needs root, and there is no sudo for it: run this as root"
        );
    }
    test_deps::provide(privilege, "parity", true)?;
    let tcpclose = compile::build(workspace)?;
    announce("parity: compiling the comparison");
    run(
        workspace.cargo().args(["build", "--package", PACKAGE]),
        "compiling the comparison",
    )?;
    let program = workspace.target.join("debug").join(PACKAGE);
    let mut command = if privilege == Privilege::Root {
        Command::new(program)
    } else {
        let mut command = Command::new("sudo");
        command.arg("--").arg(program);
        command
    };
    command
        .arg("--tcpclose")
        .arg(tcpclose)
        .args(args.passed_arguments());
    Ok(exit_code(status(&mut command)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_given_arguments_are_passed_on() {
        let args = Parity {
            closes: Some(50),
            seed: None,
            drop: Some(5),
            programs: false,
            all: true,
            keep: Some("/x y".into()),
        };
        let passed = ["--closes", "50", "--drop", "5", "--all", "--keep", "/x y"];
        assert_eq!(args.passed_arguments(), passed.map(OsString::from));
    }
}
