//! Stages in processes of their own, some at a time, and the table of what came of them.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::stages::{BUILD, Concurrency, Stage};
use crate::{
    command::{announce, stream_lines},
    test_runner::Counts,
    workspace::Workspace,
};

/// How many stages that share the processors run at a time.
const MAX_PARALLEL: usize = 3;

/// What came of one stage.
struct StageResult {
    name: &'static str,
    counts: Counts,
    is_good: bool,
    time: Duration,
}

/// Runs the stages, prints the table, and returns the number of tests and checks by their result.
pub fn run(workspace: &Workspace, stages: &[&'static Stage], args: &[OsString]) -> Result<Counts> {
    let logs = workspace.target.join("test");
    fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
    let start = Instant::now();
    let mut results = Vec::new();
    for group in groups(stages) {
        let queue = Mutex::new(VecDeque::from(group.to_vec()));
        let done = Mutex::new(Vec::new());
        let live = group.len() == 1;
        let work = || -> Result<()> {
            loop {
                let next = queue.lock().expect("no panic meanwhile").pop_front();
                let Some(stage) = next else { return Ok(()) };
                let result = run_one(stage, args, &logs, live)?;
                done.lock().expect("no panic meanwhile").push(result);
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..MAX_PARALLEL.min(group.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let results = workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic inside"));
            results.collect::<Result<()>>()
        })?;
        results.extend(done.into_inner().expect("no panic meanwhile"));
        let broken = |result: &StageResult| result.name == BUILD && !result.is_good;
        if results.iter().any(broken) {
            announce("nothing else is run: it would fail for the same reason");
            break;
        }
    }
    let counts = results.iter().map(|result| result.counts).sum();
    print!("{}", table(&results, stages.len(), start.elapsed()));
    Ok(counts)
}

/// Stages that run beside each other, group by group: neighbours that share the processors are one
/// group.
fn groups<'a>(stages: &'a [&'static Stage]) -> impl Iterator<Item = &'a [&'static Stage]> {
    stages.chunk_by(|one, next| {
        [one, next]
            .iter()
            .all(|it| it.concurrency == Concurrency::Shared)
    })
}

/// Runs a stage in another process of this program. What it writes is shown at once, or at its end
/// where others run beside it.
fn run_one(
    stage: &'static Stage,
    args: &[OsString],
    logs: &Path,
    live: bool,
) -> Result<StageResult> {
    announce(format_args!("stage {}: {}", stage.name, stage.about));
    let start = Instant::now();
    let log = logs.join(format!("{}.log", stage.name));
    let (counts, code) = observe(stage, args, &log, live)?;
    let is_good = code == Some(0) && counts.is_some_and(|counts| counts.failed == 0);
    // A stage that could not run has no counts.
    let counts = counts
        .filter(|counts| is_good || counts.failed > 0)
        .unwrap_or(Counts::from_check(false));
    let time = start.elapsed();
    if !live {
        show(stage, &log)?;
    }
    announce(format_args!(
        "stage {}: {} after {}: {counts}",
        stage.name,
        ok_or_failed(is_good),
        minutes(time)
    ));
    Ok(StageResult {
        name: stage.name,
        counts,
        is_good,
        time,
    })
}

/// Runs a stage and writes its log. Returns the counts with which it closed, and its exit code.
fn observe(
    stage: &Stage,
    args: &[OsString],
    log: &Path,
    live: bool,
) -> Result<(Option<Counts>, Option<i32>)> {
    // This program itself, even if it has been compiled anew meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["test", "--stage", stage.name, "--"])
        .args(args);
    let cannot_write = || format!("cannot write {}", log.display());
    let mut file = File::create(log).with_context(cannot_write)?;
    let mut counts = None;
    let status = stream_lines(&mut command, |line| {
        file.write_all(line).with_context(cannot_write)?;
        if live {
            io::stdout().write_all(line)?;
        }
        let read = str::from_utf8(line).ok().and_then(Counts::parse);
        counts = read.or(counts.take());
        Ok(())
    })?;
    Ok((counts, status.code()))
}

/// Shows a stage's output in one piece.
fn show(stage: &Stage, log: &PathBuf) -> Result<()> {
    let text = fs::read(log).with_context(|| format!("cannot read {}", log.display()))?;
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "---- {} ----", stage.name)?;
    stdout.write_all(&text)?;
    writeln!(stdout, "---- {}: end ----", stage.name)?;
    Ok(())
}

fn table(results: &[StageResult], stages: usize, time: Duration) -> String {
    let mut table = format!(
        "\n{:12} {:8} {:>7} {:>7} {:>7} {:>8} {:>6}\n",
        "stage", "result", "time", "passed", "failed", "skipped", "flaky"
    );
    for result in results {
        let Counts {
            passed,
            failed,
            skipped,
            flaky,
        } = result.counts;
        let _ = writeln!(
            table,
            "{:12} {:8} {:>7} {passed:>7} {failed:>7} {skipped:>8} {flaky:>6}",
            result.name,
            ok_or_failed(result.is_good),
            minutes(result.time)
        );
    }
    if results.len() < stages {
        let _ = writeln!(table, "{} stages were not run", stages - results.len());
    }
    let _ = writeln!(table, "{:21} {:>7}\n", "all", minutes(time));
    table
}

fn ok_or_failed(is_good: bool) -> &'static str {
    if is_good { "ok" } else { "FAILED" }
}

/// Formats a time in minutes and seconds: "2:05".
fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::stages::STAGES;

    #[test]
    fn stages_that_measure_time_run_alone() {
        let stages: Vec<_> = STAGES.iter().collect();
        let groups: Vec<_> = groups(&stages).collect();
        let with = |name: &str| {
            let mut groups = groups.iter();
            groups.find(|group| group.iter().any(|stage| stage.name == name))
        };
        assert_eq!(with("bench").map(|group| group.len()), Some(1));
        let shared = with("integration").expect("it is there");
        assert!(shared.iter().any(|stage| stage.name.starts_with("vm-")));
        assert!(
            shared
                .iter()
                .all(|stage| stage.concurrency == Concurrency::Shared)
        );
        assert_eq!(
            groups.iter().map(|group| group.len()).sum::<usize>(),
            stages.len()
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_stage() {
        let results =
            [("fmt", true, 1), ("leaks", false, 125)].map(|(name, is_good, seconds)| StageResult {
                name,
                counts: Counts::from_check(is_good),
                is_good,
                time: Duration::from_secs(seconds),
            });
        let table = table(&results, 3, Duration::from_secs(126));
        let lines: Vec<_> = table.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            lines[1],
            "fmt          ok          0:01       1       0        0      0"
        );
        assert_eq!(
            lines[2],
            "leaks        FAILED      2:05       0       1        0      0"
        );
        assert_eq!(lines[3], "1 stages were not run");
        assert!(lines[4].ends_with("2:06"), "{}", lines[4]);
    }
}
