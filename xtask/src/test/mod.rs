//! The tests, in stages.

mod checks;
mod packages;
mod schedule;
mod stages;
mod tasks;
mod words;

use std::{ffi::OsString, process::ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use self::stages::{Run, STAGES, Stage};
use crate::workspace::Workspace;

/// Arguments of `cargo xtask test`.
#[derive(Args)]
pub struct Test {
    /// List the stages and exit
    #[arg(long)]
    list: bool,
    /// Run only these stages; `vm` means all whose names begin with `vm-`
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "STAGES",
        conflicts_with = "list"
    )]
    only: Vec<String>,
    /// Run only the stages that need no root, no virtual machine and no services
    #[arg(long, conflicts_with_all = ["only", "list"])]
    quick: bool,
    /// Run the long stages, too
    #[arg(long, conflicts_with_all = ["only", "quick", "list"])]
    all: bool,
    /// Run this stage in this process
    #[arg(long, hide = true, value_name = "STAGE")]
    stage: Option<String>,
    /// Arguments for the test programs, such as a name to filter by
    #[arg(last = true)]
    args: Vec<OsString>,
}

/// Runs the stages. The output ends with the number of tests and checks by their result.
pub fn test(workspace: &Workspace, test: &Test) -> Result<ExitCode> {
    if test.list {
        print!("{}", list());
        return Ok(ExitCode::SUCCESS);
    }
    let counts = match &test.stage {
        Some(name) => {
            let [stage] = named(name)?[..] else {
                bail!("{name} is more than one stage");
            };
            let counts = stage.run(workspace, &test.args)?;
            println!("{counts}");
            counts
        }
        None => {
            let counts = schedule::run(workspace, &test.chosen()?, &test.args)?;
            println!("tests: {counts}");
            counts
        }
    };
    Ok(match counts.failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

impl Test {
    fn chosen(&self) -> Result<Vec<&'static Stage>> {
        let longest = match (self.quick, self.all) {
            (true, _) => Run::Quick,
            (_, true) => Run::All,
            _ => Run::Usual,
        };
        let mut only = Vec::new();
        for name in &self.only {
            only.extend(named(name)?.iter().map(|stage| stage.name));
        }
        let is_chosen = |stage: &&Stage| match self.only.is_empty() {
            true => stage.run <= longest,
            false => only.contains(&stage.name),
        };
        Ok(STAGES.iter().filter(is_chosen).collect())
    }
}

/// The stage of that name, or those whose names begin with it and a dash.
fn named(name: &str) -> Result<Vec<&'static Stage>> {
    let exact: Vec<_> = STAGES.iter().filter(|stage| stage.name == name).collect();
    let of_kind = STAGES.iter().filter(|stage| {
        let rest = stage.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('-')) && stage.run < Run::All
    });
    let stages = if exact.is_empty() {
        of_kind.collect()
    } else {
        exact
    };
    if stages.is_empty() {
        bail!("there is no stage {name}; `cargo xtask test --list` lists them");
    }
    Ok(stages)
}

fn list() -> String {
    let lines = STAGES.iter().map(|stage| {
        let run = match stage.run {
            Run::Quick => "--quick",
            Run::Usual => "",
            Run::All => "--all",
        };
        format!("{:12} {run:8} {}\n", stage.name, stage.about)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        test: Test,
    }

    fn chosen(args: &[&str]) -> Vec<&'static str> {
        let args = ["test"].iter().chain(args);
        let stages = Cli::parse_from(args).test.chosen().unwrap();
        stages.iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn a_longer_run_has_all_stages_of_a_shorter_one() {
        let (quick, usual, all) = (chosen(&["--quick"]), chosen(&[]), chosen(&["--all"]));
        assert!(quick.iter().all(|stage| usual.contains(stage)));
        assert!(usual.iter().all(|stage| all.contains(stage)));
        assert!(quick.contains(&"unit") && !quick.contains(&"leaks"));
        assert!(usual.contains(&"integration") && !usual.contains(&"soak"));
        assert_eq!(all.len(), STAGES.len());
    }

    #[test]
    fn stages_run_in_their_own_order() {
        assert_eq!(chosen(&["--only", "leaks,fmt"]), ["fmt", "leaks"]);
        assert_eq!(
            chosen(&["--only", "vm"]),
            ["vm-5.10", "vm-6.1", "vm-6.12", "vm-arm64"]
        );
        assert_eq!(chosen(&["--only", "vm-full"]), ["vm-full"]);
    }

    #[test]
    fn an_unknown_stage_is_refused() {
        let error = named("v").map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("there is no stage v"), "{error}");
    }
}
