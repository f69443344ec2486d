//! Tests in processes of their own, some at a time.
//!
//! A process that a test starts holds copies of all sockets of its parent until it executes its
//! program: a close() by another test of the same process would not be the last one meanwhile, and
//! the kernel would rightly name another closer. Each in a process of its own, tests may run side
//! by side.

use std::{
    collections::VecDeque,
    ffi::OsString,
    io::{self, Write as _},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use anyhow::Result;

use super::{
    counts::Counts,
    output::MAX_REPEATED,
    programs::{TestProgram, observe_with},
};
use crate::{command::announce, privilege::Privilege};

/// One test of a program.
pub struct IsolatedTest {
    program: Arc<TestProgram>,
    /// The name that the program selects it by.
    pub name: String,
}

/// Returns the tests of `program` that `args` select.
pub fn list(program: &Arc<TestProgram>, args: &[OsString]) -> Result<Vec<IsolatedTest>> {
    let names = program.list(args)?.into_iter();
    let tests = names.map(|name| IsolatedTest {
        program: Arc::clone(program),
        name,
    });
    Ok(tests.collect())
}

/// Runs each test in a process of its own, so many at a time, and a few that fail once more, as
/// [`TestProgram::run`] does.
pub fn run(
    tests: Vec<IsolatedTest>,
    privilege: Option<Privilege>,
    at_a_time: usize,
) -> Result<Counts> {
    announce(format_args!("{} tests, {at_a_time} at a time", tests.len()));
    let queue = Mutex::new(VecDeque::from(tests));
    let failed = Mutex::new(Vec::new());
    let work = || -> Result<Counts> {
        let mut counts = Counts::default();
        loop {
            let next = queue.lock().expect("no panic meanwhile").pop_front();
            let Some(test) = next else {
                return Ok(counts);
            };
            let of_test = test.run(privilege)?;
            counts += of_test;
            if of_test.failed > 0 {
                failed.lock().expect("no panic meanwhile").push(test);
            }
        }
    };
    let mut counts: Counts = thread::scope(|scope| {
        let workers: Vec<_> = (0..at_a_time).map(|_| scope.spawn(work)).collect();
        let counts = workers
            .into_iter()
            .map(|worker| worker.join().expect("no panic inside"));
        counts.sum::<Result<Counts>>()
    })?;
    let failed = failed.into_inner().expect("no panic meanwhile");
    if (1..=MAX_REPEATED).contains(&failed.len()) {
        announce("once more those that failed, one at a time");
        for test in failed {
            if test.run(privilege)?.passed > 0 {
                counts.failed -= 1;
                counts.passed += 1;
                counts.flaky += 1;
            }
        }
    }
    Ok(counts)
}

impl IsolatedTest {
    /// Runs it and shows a line about it; all that it writes if it fails.
    fn run(&self, privilege: Option<Privilege>) -> Result<Counts> {
        let mut command = self.program.command(privilege);
        command.args([&self.name, "--exact"]);
        let start = Instant::now();
        let output = observe_with(&mut command, |_| Ok(()))?;
        let seconds = start.elapsed().as_secs_f64();
        let counts = match output.code {
            0 => output.counts(),
            _ => Counts::from_check(false),
        };
        let name = &self.name;
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
}
