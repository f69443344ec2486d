//! What the threads of a process do: two samples of `/proc/PID/task`.

use std::collections::HashMap;
use std::io;

use super::proc_dir::{ProcDir, is_process_gone};
use super::system_calls::{first_is_descriptor, name_of};
use tcpclose_core::stuck::why::{SystemCall, ThreadActivity, ThreadEvidence};

/// The most threads of a process that are read.
const MAX_THREADS: usize = 4096;

/// Longer than any line of these files.
const MAX_LINE_LEN: u64 = 512;

/// A thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ThreadSample {
    comm: Box<[u8]>,
    activity: ThreadActivity,
    /// Processor time in nanoseconds; `None` where the kernel does not count it.
    ran_for: Option<u64>,
}

/// All threads of a process at one moment.
pub(super) type ThreadSamples = HashMap<u32, ThreadSample>;

/// Reads the threads; `skip`: one that has exited.
pub(super) fn sample(process: &ProcDir, skip: Option<u32>) -> Result<ThreadSamples, String> {
    let threads = process
        .threads(MAX_THREADS + 1)
        .map_err(|error| format!("its threads cannot be listed: {error}"))?;
    if threads.len() > MAX_THREADS {
        return Err(format!("it has more than {MAX_THREADS} threads"));
    }
    let mut samples = ThreadSamples::new();
    for tid in threads.into_iter().filter(|tid| Some(*tid) != skip) {
        let read = |file| process.read_of_thread(tid, file, MAX_LINE_LEN);
        let comm = match read(c"comm") {
            Ok(comm) => comm,
            Err(error) if is_process_gone(&error) => continue,
            Err(error) => return Err(format!("thread {tid} cannot be read: {error}")),
        };
        let sample = ThreadSample {
            comm: comm.strip_suffix(b"\n").unwrap_or(&comm).into(),
            activity: activity(read(c"syscall")),
            ran_for: read(c"schedstat").ok().and_then(|line| run_time(&line)),
        };
        samples.insert(tid, sample);
    }
    Ok(samples)
}

/// Compares two samples of the same process. A thread that is in one of them only has begun or
/// exited in between.
pub(super) fn compare(before: &ThreadSamples, after: ThreadSamples) -> Vec<ThreadEvidence> {
    let mut threads: Vec<_> = after
        .into_iter()
        .map(|(tid, sample)| ThreadEvidence {
            tid,
            activity: sample.activity,
            ran: before
                .get(&tid)
                .map_or(Some(true), |before| has_run(before, &sample)),
            comm: sample.comm,
        })
        .collect();
    threads.sort_by_key(|thread| thread.tid);
    threads
}

fn has_run(before: &ThreadSample, after: &ThreadSample) -> Option<bool> {
    if before.activity == ThreadActivity::Unknown || after.activity == ThreadActivity::Unknown {
        let (before, after) = before.ran_for.zip(after.ran_for)?;
        return Some(before != after);
    }
    if before.activity != after.activity || after.activity == ThreadActivity::Running {
        return Some(true);
    }
    let (before, after) = before.ran_for.zip(after.ran_for)?;
    Some(before != after)
}

fn activity(line: io::Result<Vec<u8>>) -> ThreadActivity {
    let line = line.ok();
    let line = line
        .as_deref()
        .and_then(|line| std::str::from_utf8(line).ok());
    line.and_then(parse_activity)
        .unwrap_or(ThreadActivity::Unknown)
}

/// Parses `running`, `-1 SP PC`, or `NUMBER ARG0 … ARG5 SP PC` (`proc_pid_syscall` of
/// fs/proc/base.c).
fn parse_activity(line: &str) -> Option<ThreadActivity> {
    let mut fields = line.split_ascii_whitespace();
    let first = fields.next()?;
    match first {
        "running" => return Some(ThreadActivity::Running),
        "-1" => return Some(ThreadActivity::Blocked),
        _ => {}
    }
    let number: u32 = first.parse().ok()?;
    let hex = |field: &str| u64::from_str_radix(field.strip_prefix("0x")?, 16).ok();
    let argument = hex(fields.next()?)?;
    let stack = hex(fields.nth(5)?)?;
    // A 32-bit program has other numbers, and its stack below 4 GiB.
    let name = (stack > u64::from(u32::MAX))
        .then(|| name_of(number))
        .flatten();
    let fd = name.filter(|name| first_is_descriptor(name));
    Some(ThreadActivity::InCall(SystemCall {
        name,
        number,
        // The kernel takes the lower half (`unsigned int fd`).
        fd: fd.map(|_| argument as u32),
    }))
}

/// Returns the processor time of `RUN WAIT COUNT`; `None` where the kernel counts none.
fn run_time(schedstat: &[u8]) -> Option<u64> {
    let line = std::str::from_utf8(schedstat).ok()?;
    let time = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(time).filter(|time| *time > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_call(name: Option<&'static str>, number: u32, fd: Option<u32>) -> ThreadActivity {
        ThreadActivity::InCall(SystemCall { name, number, fd })
    }

    #[test]
    fn the_call_that_a_thread_sleeps_in_is_parsed() {
        let read = libc::SYS_read as u32;
        let line = |stack: &str| format!("{read} 0x7 0x1 0x2 0x0 0x1 0x0 {stack} 0x7f00b78f1bd3\n");
        assert_eq!(
            parse_activity(&line("0x7ffca5a85148")),
            Some(in_call(Some("read"), read, Some(7)))
        );
        // A 32-bit program.
        assert_eq!(
            parse_activity(&line("0xffdf1234")),
            Some(in_call(None, read, None))
        );
        let futex = libc::SYS_futex as u32;
        let line = format!("{futex} 0x7ffca5a85148 0x1 0x2 0x0 0x1 0x0 0x7ffca5a85148 0x7f00\n");
        assert_eq!(
            parse_activity(&line),
            Some(in_call(Some("futex"), futex, None))
        );
        assert_eq!(parse_activity("running\n"), Some(ThreadActivity::Running));
        assert_eq!(
            parse_activity("-1 0x7ffc 0x7f00\n"),
            Some(ThreadActivity::Blocked)
        );
        assert_eq!(parse_activity(""), None);
        assert_eq!(parse_activity("7 0x1"), None);
    }

    #[test]
    fn a_thread_has_run_if_its_time_has_grown_or_it_does_something_else() {
        let sample = |activity, ran_for| ThreadSample {
            comm: Box::default(),
            activity,
            ran_for,
        };
        let futex = in_call(Some("futex"), 1, None);
        let has_run = |before, after| has_run(&before, &after);
        assert_eq!(
            has_run(sample(futex, Some(5)), sample(futex, Some(5))),
            Some(false)
        );
        assert_eq!(
            has_run(sample(futex, Some(5)), sample(futex, Some(6))),
            Some(true)
        );
        let running = ThreadActivity::Running;
        assert_eq!(
            has_run(sample(running, None), sample(running, None)),
            Some(true)
        );
        assert_eq!(
            has_run(sample(futex, None), sample(running, None)),
            Some(true)
        );
        assert_eq!(has_run(sample(futex, None), sample(futex, None)), None);
        let unknown = ThreadActivity::Unknown;
        assert_eq!(
            has_run(sample(unknown, Some(5)), sample(unknown, Some(5))),
            Some(false)
        );
        assert_eq!(run_time(b"57416980 39999875 51\n"), Some(57_416_980));
        assert_eq!(run_time(b"0 0 0\n"), None);
    }

    #[test]
    fn own_threads_are_sampled() -> io::Result<()> {
        let (over, end) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("waits".to_owned());
        let thread = thread.spawn(move || end.recv().is_ok())?;
        let process = ProcDir::open(std::process::id())?;
        let waits = std::iter::from_fn(|| Some(sample(&process, None))).take(1000);
        let found = waits.flatten().find_map(|samples| {
            let waits = samples
                .into_values()
                .find(|thread| *thread.comm == *b"waits")?;
            matches!(waits.activity, ThreadActivity::InCall(call) if call.name == Some("futex"))
                .then_some(waits)
        });
        assert!(found.is_some_and(|thread| thread.ran_for.is_some()));
        drop(over);
        thread.join().expect("it does not panic");
        Ok(())
    }
}
