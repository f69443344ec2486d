//! What this process uses of the host.

use std::fs;

use tcpclose_core::types::Nanos;

/// Processor time of all threads of this process, in user space and in the kernel.
#[must_use]
pub fn cpu() -> Nanos {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a valid struct for the length of the call; every process has this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Nanos(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Resident memory of this process in bytes; 0 where /proc does not tell.
#[must_use]
pub fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    resident(&status).unwrap_or(0)
}

fn resident(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_worked_is_counted() {
        let before = cpu();
        let mut sum = 0_u64;
        while cpu() - before < Nanos::from_millis(2) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(
            resident("VmPeak:\t 9 kB\nVmRSS:\t    1824 kB\n"),
            Some(1_867_776)
        );
        assert_eq!(resident("Name:\tx\n"), None);
        assert!(memory() > 100_000);
    }
}
