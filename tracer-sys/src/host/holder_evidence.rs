//! Reads what /proc shows of why processes do nothing with their sockets.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::cgroup::Cgroups;
use super::descriptor_links::visit_descriptors;
use super::epoll_sets::{self, FileKinds};
use super::proc_dir::{ProcDir, is_process_gone, stat_field};
use super::runtimes::{MAX_MAPS_LEN, recognize};
use super::thread_samples::{self, ThreadSamples};
use tcpclose_core::process::Process;
use tcpclose_core::stuck::why::{
    ProcessCondition, ProcessEvidence, Runtime, ThreadActivity, ThreadEvidence,
};

/// The most processes that are read; the others are named as not read.
const MAX_PROCESSES: usize = 1000;

/// The most descriptors of a process whose epoll sets are read unasked.
pub const MAX_SMALL_PROCESS: u64 = 10_000;

/// The least time between two samples of threads.
pub const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// `PF_FORKNOEXEC` of linux/sched.h, in the flags of `/proc/PID/stat`.
const PF_FORKNOEXEC: u64 = 0x40;

/// More than a process's status has.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// A process under way.
struct Reading {
    directory: ProcDir,
    evidence: ProcessEvidence,
    before: Option<ThreadSamples>,
    exited_thread: Option<u32>,
}

/// Reads these processes. Their threads are looked at twice, [`SAMPLE_INTERVAL`] apart.
/// `large_sets`: epoll sets are read also of processes with more than [`MAX_SMALL_PROCESS`]
/// descriptors, which holds up the loops that wait on them.
#[must_use]
pub fn read_holder_evidence<'a>(
    processes: impl Iterator<Item = &'a Process>,
    large_sets: bool,
) -> BTreeMap<u32, ProcessEvidence> {
    let (kinds, cgroups) = (FileKinds::detect().ok(), Cgroups::new());
    let (mut evidence, mut readings) = (BTreeMap::new(), Vec::new());
    let mut last_sample = Instant::now();
    for (index, process) in processes.enumerate() {
        if index >= MAX_PROCESSES {
            let reason = format!("only {MAX_PROCESSES} processes are looked at");
            evidence.insert(process.pid, ProcessEvidence::unread(reason));
            continue;
        }
        match Reading::start(process, &cgroups) {
            Ok(mut reading) => {
                reading.sample_threads();
                last_sample = Instant::now();
                let sets = large_sets || process.open_fds <= MAX_SMALL_PROCESS;
                reading.read_sets(process, kinds.filter(|_| sets));
                readings.push(reading);
            }
            Err(reason) => drop(evidence.insert(process.pid, ProcessEvidence::unread(reason))),
        }
    }
    if !readings.is_empty() {
        thread::sleep(SAMPLE_INTERVAL.saturating_sub(last_sample.elapsed()));
    }
    for reading in readings {
        evidence.insert(reading.directory.pid, reading.finish());
    }
    evidence
}

impl Reading {
    fn start(process: &Process, cgroups: &Cgroups) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| match is_process_gone(&error) {
            true => "it has exited meanwhile".to_owned(),
            false => format!("it cannot be read: {error}"),
        };
        let directory = ProcDir::open(process.pid).map_err(unreadable)?;
        let stat = directory.read(c"stat", MAX_FILE_LEN).map_err(unreadable)?;
        let started = process.started.map(|started| started.get());
        if stat_field(&stat, 22) != started {
            return Err("it has exited meanwhile".to_owned());
        }
        let status = directory.read(c"status", MAX_FILE_LEN).ok();
        let tracer = status.as_deref().and_then(tracer);
        let frozen = process.cgroup_v2.as_deref();
        let frozen = frozen.and_then(|path| cgroups.is_frozen(path));
        let condition = condition(&stat, frozen == Some(true));
        let parent = stat_field(&stat, 4).and_then(|pid| u32::try_from(pid).ok());
        Ok(Self {
            exited_thread: (condition == Some(ProcessCondition::LeaderExited))
                .then_some(process.pid),
            evidence: ProcessEvidence {
                condition,
                tracer,
                parent,
                is_forked: stat_field(&stat, 9).map(|flags| flags & PF_FORKNOEXEC != 0),
                fds_left: process.fds_left(),
                sets: None,
                uses_io_uring: None,
                threads: None,
                runtime: runtime(&directory, process),
                shares_mounts: shares_mounts(&directory),
                unknown: Vec::new(),
            },
            directory,
            before: None,
        })
    }

    fn sample_threads(&mut self) {
        match thread_samples::sample(&self.directory, self.exited_thread) {
            Ok(samples) => self.before = Some(samples),
            Err(reason) => self.evidence.unknown.push(reason),
        }
    }

    /// Reads the sets; without `kinds` they are not to be read.
    fn read_sets(&mut self, process: &Process, kinds: Option<FileKinds>) {
        let Some(kinds) = kinds else {
            self.evidence.unknown.push(format!(
                "its epoll sets were not read, as it has {} descriptors: --inspect reads them",
                process.open_fds
            ));
            return;
        };
        match self.read_small_sets(kinds) {
            Ok(()) => {}
            Err(reason) => self.evidence.unknown.push(reason),
        }
    }

    fn read_small_sets(&mut self, kinds: FileKinds) -> Result<(), String> {
        let (mut fds, mut uses_io_uring) = (Vec::new(), false);
        let unreadable = |error| format!("its descriptors cannot be read: {error}");
        let directory = match self.exited_thread {
            None => self.directory.descriptors().map_err(unreadable)?,
            Some(_) => match self.directory.descriptors_of_other_thread() {
                Ok(Some(directory)) => directory,
                Ok(None) => return Err("its descriptors are gone".to_owned()),
                Err(error) => return Err(unreadable(error)),
            },
        };
        visit_descriptors(&directory, |fd, link| match link {
            b"anon_inode:[eventpoll]" => fds.push(fd),
            b"anon_inode:[io_uring]" => uses_io_uring = true,
            _ => {}
        })
        .map_err(unreadable)?;
        fds.sort_unstable();
        self.evidence.uses_io_uring = Some(uses_io_uring);
        self.evidence.sets = Some(epoll_sets::read(&self.directory, &fds, kinds)?);
        Ok(())
    }

    fn finish(self) -> ProcessEvidence {
        let Self {
            directory,
            mut evidence,
            before,
            exited_thread,
        } = self;
        if let Some(before) = before {
            match thread_samples::sample(&directory, exited_thread) {
                Ok(after) if after.is_empty() => {
                    return ProcessEvidence::unread("it has exited meanwhile".to_owned());
                }
                Ok(after) => evidence.threads = Some(thread_samples::compare(&before, after)),
                Err(reason) => evidence.unknown.push(reason),
            }
        }
        if evidence.threads.iter().flatten().any(is_unknown) {
            let reason = "what its threads do cannot be read (ptrace rights)";
            evidence.unknown.push(reason.to_owned());
        }
        evidence
    }
}

fn is_unknown(thread: &ThreadEvidence) -> bool {
    thread.activity == ThreadActivity::Unknown
}

/// Recognizes what the process runs on.
fn runtime(directory: &ProcDir, process: &Process) -> Option<Runtime> {
    let maps = directory.read_from_live_task(c"maps", MAX_MAPS_LEN).ok()?;
    recognize(process.exe.as_deref(), &maps)
}

fn shares_mounts(directory: &ProcDir) -> Option<bool> {
    let own = std::fs::read_link("/proc/self/ns/mnt").ok()?;
    Some(directory.read_link(c"ns/mnt").ok()? == own)
}

/// Returns the process that traces this one; `None` where none does.
fn tracer(status: &[u8]) -> Option<u32> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(b"TracerPid:"))?;
    let pid = std::str::from_utf8(line).ok()?.trim().parse().ok()?;
    Some(pid).filter(|pid| *pid != 0)
}

fn condition(stat: &[u8], is_frozen: bool) -> Option<ProcessCondition> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    Some(match stat.get(end_of_name + 2)? {
        b'T' => ProcessCondition::Stopped,
        b't' => ProcessCondition::Traced,
        b'Z' => ProcessCondition::LeaderExited,
        _ if is_frozen => ProcessCondition::Frozen,
        _ => ProcessCondition::Ordinary,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_behind_any_name() {
        let condition = |stat: &[u8]| condition(stat, false);
        assert_eq!(
            condition(b"42 (a) T b) S 1 42"),
            Some(ProcessCondition::Ordinary)
        );
        assert_eq!(condition(b"42 (a) T 1"), Some(ProcessCondition::Stopped));
        assert_eq!(condition(b"42 (a) t 1"), Some(ProcessCondition::Traced));
        assert_eq!(
            condition(b"42 (a) Z 1"),
            Some(ProcessCondition::LeaderExited)
        );
        assert_eq!(condition(b"42 (a)"), None);
    }

    #[test]
    fn a_tracer_is_a_number_other_than_0() {
        assert_eq!(tracer(b"Name:\ta\nTracerPid:\t0\n"), None);
        assert_eq!(tracer(b"Name:\ta\nTracerPid:\t812\n"), Some(812));
        assert_eq!(tracer(b""), None);
    }

    #[test]
    fn a_process_that_is_another_by_now_is_not_read() {
        let process = Process {
            pid: std::process::id(),
            started: None,
            ..Process::default()
        };
        let all = read_holder_evidence([&process].into_iter(), false);
        let evidence = &all[&process.pid];
        assert_eq!(evidence.unknown, ["it has exited meanwhile"]);
    }
}
