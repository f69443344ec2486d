//! Runs that the kernel skipped: a program that is hit again on the same CPU while it runs (an interrupt came in between)
//! is not started a second time, and only counted (`recursion_misses`, kernel/bpf/syscall.c, from 5.12 on).

use std::fs;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::Ebpf;

use super::attach::{DISCARD, NESTED, SET_STATE};

/// Counts the skipped runs of the loaded programs. Of the one on state transitions and its twin, each takes what is
/// skipped of the other: those are none.
#[derive(Debug)]
pub(super) struct Misses {
    /// Descriptors of the programs, which the [`Ebpf`] beside this keeps open.
    programs: Vec<RawFd>,
    before: u64,
}

impl Misses {
    /// Of all programs but `kfree_skb`: without that a close is looked up instead, and nothing is lost.
    pub fn of(ebpf: &Ebpf) -> Self {
        let is_loaded = |name| {
            ebpf.program(name)
                .is_some_and(|program| program.fd().is_ok())
        };
        let has_twin = is_loaded(SET_STATE) && is_loaded(NESTED);
        let loaded = ebpf
            .programs()
            .filter(|(name, _)| *name != DISCARD)
            .filter(|(name, _)| !has_twin || ![SET_STATE, NESTED].contains(name))
            .filter_map(|(_, program)| program.fd().ok());
        let programs = loaded.map(|fd| fd.as_fd().as_raw_fd()).collect();
        Self {
            programs,
            before: 0,
        }
    }

    /// How many runs were skipped since the last call.
    pub fn take(&mut self) -> u64 {
        let count = |fd: &RawFd| {
            let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
            parse(&info)
        };
        let misses = self.programs.iter().filter_map(count).sum::<u64>();
        misses.saturating_sub(std::mem::replace(&mut self.before, misses))
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
