//! Reads the kernel's clocks: the one of the eBPF programs, and the processor time of a thread and
//! of the process.

use rustix::time::{ClockId, clock_getres, clock_gettime};
use tcpclose_core::types::{Nanos, StartTime};

/// The unit of times in `/proc/PID/stat` (`USER_HZ`).
const USER_TICK: Nanos = Nanos::from_millis(10);

/// Returns the time of `CLOCK_MONOTONIC`, which the eBPF programs stamp their records with
/// (`bpf_ktime_get_ns()`).
#[must_use]
pub fn now() -> Nanos {
    read(ClockId::Monotonic)
}

/// Returns when a process started, on the clock of [`now`]: /proc counts from the host's start, the
/// time that it was suspended included.
#[must_use]
pub fn start_of_process(started: StartTime) -> Nanos {
    let ago = read(ClockId::Boottime) - Nanos(started.get() * USER_TICK.0);
    now() - ago
}

/// Returns how long a tick of the kernel's clock takes: 1 to 10 ms, a second divided by
/// `CONFIG_HZ`. It is the resolution of the coarse clocks (posix_get_coarse_res of
/// kernel/time/posix-timers.c).
#[must_use]
pub fn tick() -> Nanos {
    let resolution = clock_getres(ClockId::MonotonicCoarse);
    Nanos(resolution.tv_sec as u64 * 1_000_000_000 + resolution.tv_nsec as u64)
}

/// Returns the processor time of the calling thread.
#[must_use]
pub fn thread_cpu_time() -> Nanos {
    read(ClockId::ThreadCPUTime)
}

/// Returns the processor time of all threads of this process, in user space and in the kernel.
#[must_use]
pub fn process_cpu_time() -> Nanos {
    read(ClockId::ProcessCPUTime)
}

fn read(clock: ClockId) -> Nanos {
    let time = clock_gettime(clock);
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_one_of_the_lengths_that_kernels_have() {
        let hz = 1_000_000_000 / tick().0;
        assert!([100, 250, 300, 1000].contains(&hz), "{hz}");
    }

    #[test]
    fn processes_have_started_before_now() {
        let started = |ticks| StartTime::new(ticks).map(start_of_process);
        let (first, second) = (started(1), started(101));
        assert!(
            first < second && second < Some(now()),
            "{first:?} {second:?}"
        );
    }

    #[test]
    fn the_cpu_clocks_count_work() {
        for clock in [thread_cpu_time, process_cpu_time] {
            let before = clock();
            let mut sum = 0_u64;
            while clock() - before < Nanos::from_millis(2) {
                sum = std::hint::black_box(sum + 1);
            }
            assert!(sum > 0);
        }
    }
}
