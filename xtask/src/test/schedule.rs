//! Stages in processes of their own, some at a time, and the table of what came of them.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::stages::{BUILD, Company, Stage};
use crate::{command::announce, test_runner::Counts, workspace::Workspace};

/// How many stages that share the processors run at a time.
const AT_A_TIME: usize = 3;

/// What came of one stage.
struct Outcome {
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
    let mut outcomes = Vec::new();
    for group in groups(stages) {
        let queue = Mutex::new(VecDeque::from(group.to_vec()));
        let done = Mutex::new(Vec::new());
        let live = group.len() == 1;
        let work = || -> Result<()> {
            loop {
                let next = queue.lock().expect("no panic meanwhile").pop_front();
                let Some(stage) = next else { return Ok(()) };
                let outcome = run_one(stage, args, &logs, live)?;
                done.lock().expect("no panic meanwhile").push(outcome);
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..AT_A_TIME.min(group.len()))
                .map(|_| scope.spawn(work))
                .collect();
            let results = workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic inside"));
            results.collect::<Result<()>>()
        })?;
        outcomes.extend(done.into_inner().expect("no panic meanwhile"));
        let broken = |outcome: &Outcome| outcome.name == BUILD && !outcome.is_good;
        if outcomes.iter().any(broken) {
            announce("nothing else is run: it would fail for the same reason");
            break;
        }
    }
    let counts = outcomes.iter().map(|outcome| outcome.counts).sum();
    print!("{}", table(&outcomes, stages.len(), start.elapsed()));
    Ok(counts)
}

/// Stages that run beside each other, group by group: neighbours that share the processors are one group.
fn groups<'a>(stages: &'a [&'static Stage]) -> impl Iterator<Item = &'a [&'static Stage]> {
    stages.chunk_by(|one, next| [one, next].iter().all(|it| it.company == Company::Shared))
}

/// Runs a stage in another process of this program. What it writes is shown at once, or at its end where others run
/// beside it.
fn run_one(stage: &'static Stage, args: &[OsString], logs: &Path, live: bool) -> Result<Outcome> {
    announce(format_args!("stage {}: {}", stage.name, stage.about));
    let start = Instant::now();
    let log = logs.join(format!("{}.log", stage.name));
    let (counts, code) = observe(stage, args, &log, live)?;
    let is_good = code == Some(0) && counts.is_some_and(|counts| counts.failed == 0);
    // A stage that could not run has no counts.
    let counts = counts
        .filter(|counts| is_good || counts.failed > 0)
        .unwrap_or(Counts::of_check(false));
    let time = start.elapsed();
    if !live {
        show(stage, &log)?;
    }
    announce(format_args!(
        "stage {}: {} after {}: {counts}",
        stage.name,
        result(is_good),
        minutes(time)
    ));
    Ok(Outcome {
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
    let (reader, writer) = io::pipe().context("cannot make a pipe")?;
    // This program itself, even if it has been compiled anew meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command
        .args(["test", "--stage", stage.name, "--"])
        .args(args)
        .stdout(writer.try_clone().context("cannot make a pipe")?)
        .stderr(writer);
    let mut child = command.spawn().context("cannot start a stage")?;
    // The command has the pipe's writing end open: with it gone, the pipe ends with the stage.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let cannot_write = || format!("cannot write {}", log.display());
    let mut file = File::create(log).with_context(cannot_write)?;
    let mut reader = BufReader::new(reader);
    let (mut line, mut counts) = (Vec::new(), None);
    while reader
        .read_until(b'\n', &mut line)
        .context("cannot read a stage's output")?
        > 0
    {
        file.write_all(&line).with_context(cannot_write)?;
        if live {
            io::stdout().write_all(&line)?;
        }
        counts = str::from_utf8(&line)
            .ok()
            .and_then(Counts::parse)
            .or(counts);
        line.clear();
    }
    let status = child.wait().context("cannot wait for a stage")?;
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

fn table(outcomes: &[Outcome], stages: usize, time: Duration) -> String {
    let mut table = format!(
        "\n{:12} {:8} {:>7} {:>7} {:>7} {:>8}\n",
        "stage", "result", "time", "passed", "failed", "skipped"
    );
    for outcome in outcomes {
        let Counts {
            passed,
            failed,
            skipped,
        } = outcome.counts;
        let _ = writeln!(
            table,
            "{:12} {:8} {:>7} {passed:>7} {failed:>7} {skipped:>8}",
            outcome.name,
            result(outcome.is_good),
            minutes(outcome.time)
        );
    }
    if outcomes.len() < stages {
        let _ = writeln!(table, "{} stages were not run", stages - outcomes.len());
    }
    let _ = writeln!(table, "{:21} {:>7}\n", "all", minutes(time));
    table
}

fn result(is_good: bool) -> &'static str {
    if is_good { "ok" } else { "FAILED" }
}

/// "2:05"
fn minutes(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::stages::STAGES;

    #[test]
    fn what_measures_time_runs_alone() {
        let stages: Vec<_> = STAGES.iter().collect();
        let groups: Vec<_> = groups(&stages).collect();
        let with = |name: &str| {
            let mut groups = groups.iter();
            groups.find(|group| group.iter().any(|stage| stage.name == name))
        };
        assert_eq!(with("bench").map(|group| group.len()), Some(1));
        let shared = with("integration").expect("it is there");
        assert!(shared.iter().any(|stage| stage.name.starts_with("vm-")));
        assert!(shared.iter().all(|stage| stage.company == Company::Shared));
        assert_eq!(
            groups.iter().map(|group| group.len()).sum::<usize>(),
            stages.len()
        );
    }

    #[test]
    fn the_table_has_a_line_for_each_stage() {
        let outcomes =
            [("fmt", true, 1), ("leaks", false, 125)].map(|(name, is_good, seconds)| Outcome {
                name,
                counts: Counts::of_check(is_good),
                is_good,
                time: Duration::from_secs(seconds),
            });
        let table = table(&outcomes, 3, Duration::from_secs(126));
        let lines: Vec<_> = table.lines().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            lines[1],
            "fmt          ok          0:01       1       0        0"
        );
        assert_eq!(
            lines[2],
            "leaks        FAILED      2:05       0       1        0"
        );
        assert_eq!(lines[3], "1 stages were not run");
        assert!(lines[4].ends_with("2:06"), "{}", lines[4]);
    }
}
