//! Tests in processes of their own, some at a time.
//!
//! A process that a test starts holds copies of all sockets of its parent until it executes its program: a close() by
//! another test of the same process would not be the last one meanwhile, and the kernel would rightly name another
//! closer. Tests that wait for each other's sake in one process may run side by side in several.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, Write as _},
    sync::Mutex,
    thread,
    time::Instant,
};

use anyhow::Result;

use super::{
    Counts,
    programs::{TestProgram, observe_with},
};
use crate::{command::announce, privilege::Privilege};

/// How many tests run at a time. Most of their time they wait: for the program to attach, for a FIN to come late, for
/// TIME_WAIT to end.
const AT_A_TIME: usize = 4;

/// Runs each test of `program` that `args` select, those first whose names begin with one of `slow`.
pub fn run(
    program: &TestProgram,
    privilege: Option<Privilege>,
    args: &[OsString],
    slow: &[&str],
) -> Result<Counts> {
    let mut names = program.list(args)?;
    names.sort_by_key(|name| !slow.iter().any(|slow| name.starts_with(slow)));
    announce(format_args!(
        "{}: {} tests, {AT_A_TIME} at a time",
        program.target,
        names.len()
    ));
    let queue = Mutex::new(VecDeque::from(names));
    let work = || -> Result<Counts> {
        let mut counts = Counts::default();
        loop {
            let next = queue.lock().expect("no panic meanwhile").pop_front();
            let Some(name) = next else {
                return Ok(counts);
            };
            counts += run_one(program, privilege, &name)?;
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        let counts = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic inside"));
        counts.sum()
    })
}

/// Runs one test and shows a line about it; all that it writes where it fails.
fn run_one(program: &TestProgram, privilege: Option<Privilege>, name: &str) -> Result<Counts> {
    let mut command = program.command(privilege);
    command.args([name, "--exact"]);
    let start = Instant::now();
    let output = observe_with(&mut command, |_| Ok(()))?;
    let seconds = start.elapsed().as_secs_f64();
    let counts = match output.code {
        0 => output.counts(),
        _ => Counts::of_check(false),
    };
    let mut lines = String::new();
    if counts.failed > 0 {
        lines.push_str(output.text());
    }
    for reason in output.skipped() {
        lines.push_str(&format!("skipped: {name}: {reason}\n"));
    }
    let result = if counts.failed > 0 { "FAILED" } else { "ok" };
    lines.push_str(&format!("test {name} ... {result} ({seconds:.1} s)\n"));
    // In one piece: other tests end at the same time.
    io::stdout().write_all(lines.as_bytes())?;
    Ok(counts)
}
