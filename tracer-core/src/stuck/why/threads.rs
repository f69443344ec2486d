//! What the threads of a holder do.

use std::collections::BTreeMap;

/// A system call that a thread sleeps in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SystemCall {
    /// Its name; `None` for one that is not known here.
    pub name: Option<&'static str>,
    /// The system call's number on this architecture.
    pub number: u32,
    /// The descriptor it is called with, where it takes one.
    pub fd: Option<u32>,
}

/// What a thread does at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadActivity {
    /// It runs, or could.
    Running,
    /// It sleeps in a system call.
    InCall(SystemCall),
    /// It waits outside of system calls.
    Blocked,
    /// That could not be read.
    Unknown,
}

/// A thread, looked at twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEvidence {
    /// The thread's id.
    pub tid: u32,
    /// Its name: any bytes but NUL. Escape it before it is shown.
    pub comm: Box<[u8]>,
    /// What it did both times; where that differs, what it did the second time.
    pub activity: ThreadActivity,
    /// Whether it ran in between; `None` where that is not known.
    pub ran: Option<bool>,
}

impl ThreadEvidence {
    /// Returns whether it has slept in one call all the time.
    #[must_use]
    pub fn slept_in(&self) -> Option<SystemCall> {
        match self.activity {
            ThreadActivity::InCall(call) if self.ran == Some(false) => Some(call),
            ThreadActivity::Running
            | ThreadActivity::InCall(_)
            | ThreadActivity::Blocked
            | ThreadActivity::Unknown => None,
        }
    }
}

/// What is true of all threads of a process together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ThreadsFinding {
    /// None ran between two samples, and all wait in `futex`: for a lock, for work, or for a
    /// time-out.
    AllInFutex,
    /// None ran between two samples.
    NoneRan,
    /// All were running, in both.
    AllBusy,
    /// Some ran, or some were busy.
    SomeRan,
    /// Not all could be read.
    Unknown,
}

impl ThreadsFinding {
    /// Judges all threads of a process.
    #[must_use]
    pub fn judge(threads: &[ThreadEvidence]) -> Self {
        let is_known = |thread: &ThreadEvidence| {
            thread.ran.is_some() && thread.activity != ThreadActivity::Unknown
        };
        let waits = |thread: &ThreadEvidence| {
            let name = thread.slept_in().and_then(|call| call.name);
            matches!(name, Some("futex" | "futex_waitv"))
        };
        let is_busy = |thread: &ThreadEvidence| {
            thread.activity == ThreadActivity::Running && thread.ran == Some(true)
        };
        if threads.is_empty() || !threads.iter().all(is_known) {
            Self::Unknown
        } else if threads.iter().all(waits) {
            Self::AllInFutex
        } else if threads.iter().all(|thread| thread.ran == Some(false)) {
            Self::NoneRan
        } else if threads.iter().all(is_busy) {
            Self::AllBusy
        } else {
            Self::SomeRan
        }
    }

    /// Returns how many threads sleep in which call, the most first; `other` for a call without a
    /// known name.
    #[must_use]
    pub fn calls(threads: &[ThreadEvidence]) -> Vec<(&'static str, usize)> {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        for thread in threads {
            if let ThreadActivity::InCall(call) = thread.activity {
                *counts.entry(call.name.unwrap_or("other")).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thread(activity: ThreadActivity, ran: Option<bool>) -> ThreadEvidence {
        ThreadEvidence {
            tid: 9,
            comm: (*b"worker").into(),
            activity,
            ran,
        }
    }

    fn in_call(name: &'static str) -> ThreadActivity {
        ThreadActivity::InCall(SystemCall {
            name: Some(name),
            number: 0,
            fd: None,
        })
    }

    #[test]
    fn a_deadlock_is_all_threads_in_futex_and_none_that_ran() {
        let waits = thread(in_call("futex"), Some(false));
        let reads = thread(in_call("read"), Some(false));
        let ran = thread(in_call("futex"), Some(true));
        let both = |other: &ThreadEvidence| ThreadsFinding::judge(&[waits.clone(), other.clone()]);
        assert_eq!(both(&waits), ThreadsFinding::AllInFutex);
        assert_eq!(both(&reads), ThreadsFinding::NoneRan);
        assert_eq!(both(&ran), ThreadsFinding::SomeRan);
    }

    #[test]
    fn all_are_busy_only_if_every_one_runs() {
        let busy = thread(ThreadActivity::Running, Some(true));
        let waits = thread(in_call("futex"), Some(false));
        assert_eq!(
            ThreadsFinding::judge(std::slice::from_ref(&busy)),
            ThreadsFinding::AllBusy
        );
        assert_eq!(
            ThreadsFinding::judge(&[busy, waits]),
            ThreadsFinding::SomeRan
        );
    }

    #[test]
    fn what_could_not_be_read_of_one_thread_is_not_known_of_all() {
        let waits = thread(in_call("futex"), Some(false));
        for unread in [
            thread(ThreadActivity::Unknown, Some(false)),
            thread(in_call("futex"), None),
        ] {
            assert_eq!(
                ThreadsFinding::judge(&[waits.clone(), unread]),
                ThreadsFinding::Unknown
            );
        }
        assert_eq!(ThreadsFinding::judge(&[]), ThreadsFinding::Unknown);
    }
}
