//! Counts the runs that the kernel skipped: a program that is hit again on the same CPU while it
//! runs (an interrupt came in between) is not started a second time, and only counted
//! (`recursion_misses`, kernel/bpf/syscall.c, from 5.12 on).

use std::fs;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

use aya::Ebpf;

use super::object::{KFREE_SKB, SET_STATE, SET_STATE_FALLBACK};

/// Counts the skipped runs of the loaded programs.
#[derive(Debug)]
pub(super) struct RecursionMisses {
    /// Skipped runs of the main program on state transitions.
    set_state: MissCounter,
    /// Skipped runs of all others but its fallback and the one on dropped packets: the main program
    /// has seen what the fallback misses, and without the other a close is probed instead.
    others: MissCounter,
}

/// The runs that were skipped since the last call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MissedRuns {
    /// Runs of the main program on state transitions; `None` where the kernel does not count it
    /// (before 5.12).
    pub set_state: Option<u64>,
    /// Runs of the other programs.
    pub others: u64,
}

impl RecursionMisses {
    /// Starts counting for the loaded programs.
    pub fn new(ebpf: &Ebpf) -> Self {
        let counter = |wanted: &dyn Fn(&str) -> bool| MissCounter {
            programs: ebpf
                .programs()
                .filter(|(name, _)| wanted(name))
                .filter_map(|(_, program)| program.fd().ok())
                .map(|fd| fd.as_fd().as_raw_fd())
                .collect(),
            before: 0,
        };
        Self {
            set_state: counter(&|name| name == SET_STATE),
            others: counter(&|name| ![SET_STATE, SET_STATE_FALLBACK, KFREE_SKB].contains(&name)),
        }
    }

    /// Returns how many runs were skipped since the last call.
    pub fn take_new(&mut self) -> MissedRuns {
        MissedRuns {
            set_state: self.set_state.take_new(),
            others: self.others.take_new().unwrap_or(0),
        }
    }
}

#[derive(Debug)]
struct MissCounter {
    /// Descriptors of the programs, which the [`Ebpf`] beside this keeps open.
    programs: Vec<RawFd>,
    before: u64,
}

impl MissCounter {
    /// Returns the new ones since the last call; `None` where the kernel does not count them.
    fn take_new(&mut self) -> Option<u64> {
        let count = |fd: &RawFd| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
            parse(&info)
        };
        let counts = self.programs.iter().filter_map(count);
        let now = counts.reduce(|all, one| all + one)?;
        // A program whose count cannot be read this time adds nothing now, and all of it the next
        // time.
        let most = now.max(self.before);
        Some(most - std::mem::replace(&mut self.before, most))
    }
}

fn parse(fdinfo: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix("recursion_misses:")?.trim().parse().ok();
    fdinfo.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_counter_is_found_where_the_kernel_has_it() {
        assert_eq!(
            parse("pos:\t0\nprog_type:\t26\nrecursion_misses:\t2\n"),
            Some(2)
        );
        assert_eq!(parse("pos:\t0\nprog_type:\t26\n"), None);
    }
}
