//! Measurements that need root: this program, started again.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{report::Row, testbed::RESULTS_FILE};
use crate::{command::run, demo::in_own_network, privilege::Privilege, workspace::Workspace};

/// Starts this program again as root, in a namespace of its own, to measure `program`. `add` adds
/// the arguments that select the measurements.
pub fn run_as_root(
    workspace: &Workspace,
    program: &Path,
    add: impl FnOnce(&mut Command),
) -> Result<Vec<Row>> {
    let directory = workspace.target.join("bench");
    fs::create_dir_all(&directory).context("cannot make target/bench")?;
    let results = directory.join(RESULTS_FILE);
    // Those of an earlier run are not this one's.
    let _ = fs::remove_file(&results);
    let own = env::current_exe().context("cannot find xtask itself")?;
    let mut again = in_own_network(Privilege::detect(), own, &["bench".into()])?;
    again.arg("--program").arg(program);
    again.arg("--results-directory").arg(&directory);
    add(&mut again);
    run(&mut again, "measuring as root")?;
    let results = fs::read(&results).context("the measurements have left no results")?;
    Row::all_from_json(&results)
}
