//! A running `tcpclose watch`.

use std::collections::HashSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::capture::Ports;
use super::program;
use super::record::Close;
use super::time_wait::TimeWait;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::wait::eventually;
use tcpclose_parity::segment::Endpoint;

/// `tcpclose watch`, attached.
pub struct Watch {
    process: ChildProcess,
}

impl Watch {
    /// Watches one namespace from inside it, as JSON, with further arguments.
    pub fn start(ns: &NetNs, args: &[&str]) -> Self {
        let mut arguments = vec!["--format", "json"];
        arguments.extend_from_slice(args);
        Self::start_raw(ns, &arguments)
    }

    /// As [`Self::start`] in whatever format the arguments name.
    pub fn start_raw(ns: &NetNs, args: &[&str]) -> Self {
        let mut command = ns.command(program::path());
        command
            .arg("watch")
            .arg("--netns")
            .arg(ns.inode().to_string())
            .args(args);
        Self::spawn(&mut command)
    }

    /// Starts a command line of one's own and waits until it says that it watches.
    pub fn spawn(command: &mut Command) -> Self {
        let watch = Self {
            process: ChildProcess::spawn(command),
        };
        watch.wait_until_attached();
        watch
    }

    /// Takes over a process whose standard output the test reads itself.
    pub fn adopt(process: ChildProcess) -> Self {
        let watch = Self { process };
        watch.wait_until_attached();
        watch
    }

    fn wait_until_attached(&self) {
        let attached = |lines: &[String]| {
            lines
                .iter()
                .any(|line| line.starts_with("tcpclose: watching"))
                .then_some(())
        };
        if self.process.stderr.wait(attached).is_none() {
            panic!(
                "tcpclose watch did not attach; its stderr:\n{}",
                self.process.stderr.text()
            );
        }
    }

    /// Process id of the program.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns whether the program still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// The lines written so far.
    pub fn lines(&self) -> Vec<String> {
        self.process.stdout.now()
    }

    /// Waits until the program knows the sockets that were open before it. It reports that only
    /// where it has taken longer than two seconds.
    pub fn wait_until_old_sockets_are_known(&self) {
        thread::sleep(Duration::from_secs(3));
        let has_notice = |text: &str| self.process.stderr.text().contains(text);
        let is_known = || {
            let is_late = has_notice("are still being looked up");
            (!is_late || has_notice("is known now")).then_some(())
        };
        eventually(is_known).expect("what was open before becomes known");
    }

    /// Waits until `find` finds what it looks for among the lines.
    pub fn wait_for<T>(&self, what: &str, find: impl FnMut(&[String]) -> Option<T>) -> T {
        self.process.stdout.wait(find).unwrap_or_else(|| {
            panic!(
                "{what} did not come; stdout:\n{}\nstderr:\n{}",
                self.process.stdout.text(),
                self.process.stderr.text()
            )
        })
    }

    /// The `close` record of one endpoint of a connection.
    pub fn close(&self, ports: Ports, end: Endpoint) -> Close {
        self.closes(ports, end, 1).remove(0)
    }

    /// The `time_wait` record of one endpoint of a connection, and that there is only one by then.
    pub fn time_wait(&self, ports: Ports, end: Endpoint, limit: Duration) -> TimeWait {
        let found = self.process.stdout.wait_for(limit, |lines| {
            let mut reported = self.time_waits_in(lines, ports, end);
            (!reported.is_empty()).then(|| reported.remove(0))
        });
        found.unwrap_or_else(|| {
            panic!(
                "no time_wait record of the {end}'s end {ports:?} came; stdout:\n{}\nstderr:\n{}",
                self.process.stdout.text(),
                self.process.stderr.text()
            )
        })
    }

    /// The `time_wait` records of one endpoint so far.
    pub fn time_waits(&self, ports: Ports, end: Endpoint) -> Vec<TimeWait> {
        self.time_waits_in(&self.lines(), ports, end)
    }

    fn time_waits_in(&self, lines: &[String], ports: Ports, end: Endpoint) -> Vec<TimeWait> {
        let reported = lines
            .iter()
            .filter(|line| line.contains(r#""kind":"time_wait""#));
        let mut reported: Vec<_> = reported.map(|line| TimeWait::parse(line)).collect();
        reported.retain(|reported| reported.ports() == ports.seen_from(end));
        reported
    }

    /// The first `count` close records of one endpoint of connections that used the same ports, in
    /// order.
    pub fn closes(&self, ports: Ports, end: Endpoint, count: usize) -> Vec<Close> {
        let what = format!("record {count} of the {end}'s end {ports:?}");
        self.wait_for(&what, |lines| {
            let mut closes = closes_in(lines);
            closes.retain(|close| close.ports() == ports.seen_from(end));
            // A record that waits for its cause may come after a younger one.
            closes.sort_by_key(Close::ended);
            (closes.len() >= count).then_some(closes)
        })
    }

    /// Waits until it ends by itself (`--count`, `--duration`): exit code 0, and nothing went wrong
    /// on the way.
    pub fn ended(self) -> Vec<Close> {
        closes_in(&self.all_lines())
    }

    fn all_lines(mut self) -> Vec<String> {
        let status = self.process.wait();
        let stderr = self.process.stderr.text();
        program::assert_no_panic(&stderr);
        assert_eq!(
            status.code(),
            Some(0),
            "exit code of tcpclose watch; its stderr:\n{stderr}"
        );
        let lines = self.lines();
        let mut ids = HashSet::new();
        for close in closes_in(&lines) {
            // A socket keeps its id when it connects a second time.
            let life = (close.id(), close.get("/conn/opened").to_string());
            assert!(ids.insert(life), "printed twice: {close}");
        }
        lines
    }

    /// Stops it as Ctrl-C does; otherwise as [`Self::ended`].
    pub fn stop(self) -> Vec<Close> {
        self.process.interrupt();
        self.ended()
    }

    /// Stops it as Ctrl-C does, and returns the closes and how many records it reports as lost.
    pub fn stop_with_losses(self) -> (Vec<Close>, u64) {
        self.process.interrupt();
        let lines = self.all_lines();
        let records = lines.iter().map(|line| serde_json::from_str(line).unwrap());
        let losses = records.filter(|record: &Value| record["kind"] == "loss");
        let lost = losses.filter_map(|loss| loss["lost"].as_u64()).sum();
        (closes_in(&lines), lost)
    }

    /// Stops it and returns all it wrote, whatever the format.
    pub fn stop_raw(mut self) -> Vec<String> {
        self.process.interrupt();
        let status = self.process.wait();
        let stderr = self.process.stderr.text();
        program::assert_no_panic(&stderr);
        assert_eq!(
            status.code(),
            Some(0),
            "exit code of tcpclose watch; its stderr:\n{stderr}"
        );
        self.lines()
    }

    /// Waits for the end of a program that should end by itself; its exit code and stderr.
    pub fn end(mut self) -> (Option<i32>, String) {
        let code = self.process.wait().code();
        (code, self.process.stderr.text())
    }

    /// What it has used of a core's time, in user and kernel.
    pub fn cpu_time(&self) -> Duration {
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let stat = stat.expect("our own child is there");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        // utime and stime, the 14th and 15th of proc_pid_stat(5); these begin with the third.
        let times = fields.split(' ').skip(11).take(2);
        let ticks: u32 = times.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
        TICK * ticks
    }

    /// Number of times its threads have gone to sleep of their own accord.
    pub fn voluntary_switches(&self) -> u64 {
        let tasks = format!("/proc/{}/task", self.pid());
        let threads = std::fs::read_dir(tasks).expect("our own child is there");
        threads
            .filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("status")).ok())
            .filter_map(|status| {
                status.lines().find_map(|line| {
                    line.strip_prefix("voluntary_ctxt_switches:")?
                        .trim()
                        .parse::<u64>()
                        .ok()
                })
            })
            .sum()
    }
}

/// The close records among JSON lines. Panics over a line that is none of the format.
pub fn closes_in(lines: &[String]) -> Vec<Close> {
    let parse = |line: &String| -> Value {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
        assert_eq!(value["v"], 1, "version: {line}");
        value
    };
    lines
        .iter()
        .map(parse)
        .filter(|value| value["kind"] == "close")
        .map(Close::new)
        .collect()
}

/// Repeats until the two sides agree; panics with both when they never do.
pub fn agree<T: PartialEq + std::fmt::Debug>(
    what: &str,
    expected: &T,
    mut look: impl FnMut() -> T,
) {
    let mut last = None;
    let agreed = eventually(|| {
        let seen = look();
        let same = seen == *expected;
        last = Some(seen);
        same.then_some(())
    });
    assert!(
        agreed.is_some(),
        "{what}: expected {expected:?}, last seen {last:?}"
    );
}
