//! Runs that the kernel skipped: a program that is hit again on the same CPU while it runs (an interrupt came in between)
//! is not started a second time, and only counted (`recursion_misses`, kernel/bpf/syscall.c, from 5.12 on).

use std::fs;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use aya::Ebpf;

use crate::lifecycle::summary::BpfRuns;
use crate::lifecycle::types::Nanos;

use super::loader::{NESTED, SET_STATE};

/// Counts the skipped runs of the loaded programs. Of the one on state transitions and its twin, each takes what is
/// skipped of the other: those are none.
#[derive(Debug)]
pub(super) struct Misses {
    /// Descriptors of the programs, which the [`Ebpf`] beside this keeps open.
    programs: Vec<RawFd>,
    before: u64,
}

impl Misses {
    pub fn of(ebpf: &Ebpf) -> Self {
        let is_loaded = |name| {
            ebpf.program(name)
                .is_some_and(|program| program.fd().is_ok())
        };
        let has_twin = is_loaded(SET_STATE) && is_loaded(NESTED);
        let loaded = ebpf
            .programs()
            .filter(|(name, _)| !has_twin || ![SET_STATE, NESTED].contains(name))
            .filter_map(|(_, program)| program.fd().ok());
        let programs = loaded.map(|fd| fd.as_fd().as_raw_fd()).collect();
        Self {
            programs,
            before: 0,
        }
    }

    /// How often and how long the programs have run, as far as the kernel measured that.
    pub fn runs(&self) -> Option<BpfRuns> {
        let mut runs = BpfRuns::default();
        for info in self.infos() {
            runs.count += parse(&info, "run_cnt:")?;
            runs.time = runs.time + Nanos(parse(&info, "run_time_ns:")?);
        }
        Some(runs)
    }

    fn infos(&self) -> impl Iterator<Item = String> + '_ {
        let read = |fd: &RawFd| fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok();
        self.programs.iter().filter_map(read)
    }

    /// How many runs were skipped since the last call.
    pub fn take(&mut self) -> u64 {
        let infos = self.infos();
        let misses = infos
            .filter_map(|info| parse(&info, "recursion_misses:"))
            .sum::<u64>();
        misses.saturating_sub(std::mem::replace(&mut self.before, misses))
    }
}

fn parse(fdinfo: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    fdinfo.lines().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_counter_is_found_where_the_kernel_has_it() {
        assert_eq!(
            parse(
                "pos:\t0\nprog_type:\t26\nrecursion_misses:\t2\n",
                "recursion_misses:"
            ),
            Some(2)
        );
        assert_eq!(
            parse("pos:\t0\nprog_type:\t26\n", "recursion_misses:"),
            None
        );
    }
}
