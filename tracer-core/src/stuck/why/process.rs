//! What keeps a whole process from running, and what else is known of a holder's process.

use super::epoll::EpollSet;
use super::runtime::Runtime;
use super::threads::ThreadEvidence;

/// What keeps a process from running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ProcessCondition {
    /// A signal has stopped it (SIGSTOP, SIGTSTP, job control).
    Stopped,
    /// A debugger has stopped it.
    Traced,
    /// Its cgroup is frozen.
    Frozen,
    /// Its first thread has exited, and others go on.
    LeaderExited,
    /// None of these.
    Ordinary,
}

/// What /proc shows of a holder's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvidence {
    /// What keeps it from running; `None` where that could not be read.
    pub condition: Option<ProcessCondition>,
    /// The process that traces it (ptrace(2)).
    pub tracer: Option<u32>,
    /// The id of its parent, where that is known.
    pub parent: Option<u32>,
    /// Whether it was made by fork() and has not called exec() since; `None` where that is not
    /// known.
    pub is_forked: Option<bool>,
    /// How many more descriptors it may open; `None` where that is not known.
    pub fds_left: Option<u64>,
    /// Its epoll sets; `None` where they were not read.
    pub sets: Option<Vec<EpollSet>>,
    /// Whether it uses io_uring, whose polls /proc does not show; `None` where that is not known.
    pub uses_io_uring: Option<bool>,
    /// Its threads; `None` where they were not read.
    pub threads: Option<Vec<ThreadEvidence>>,
    /// What it runs on; `None` where that could not be recognized.
    pub runtime: Option<Runtime>,
    /// Whether it sees the same mounts as tcpclose; `None` where that is not known.
    pub shares_mounts: Option<bool>,
    /// What could not be read, and why: sentences.
    pub unknown: Vec<String>,
}

impl ProcessEvidence {
    /// Describes a process of which nothing could be read, for this reason.
    #[must_use]
    pub fn unread(reason: String) -> Self {
        Self {
            condition: None,
            tracer: None,
            parent: None,
            is_forked: None,
            fds_left: None,
            sets: None,
            uses_io_uring: None,
            threads: None,
            runtime: None,
            shares_mounts: None,
            unknown: vec![reason],
        }
    }

    /// Returns whether a thread has slept in epoll_wait() on the set of this descriptor all the
    /// time.
    #[must_use]
    pub fn is_waited_on(&self, set: u32) -> bool {
        self.condition == Some(ProcessCondition::Ordinary)
            && self.threads.iter().flatten().any(|thread| {
                thread.slept_in().is_some_and(|call| {
                    let name = call.name.unwrap_or_default();
                    name.starts_with("epoll_") && call.fd == Some(set)
                })
            })
    }
}
