//! Reads how much of the host's memory this process uses.
//!
//! Not by the crate `procfs`, for the reasons in `proc_dir.rs`.

use std::fs;

/// Returns the resident memory of this process in bytes; 0 where /proc does not show it.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    parse_resident_bytes(&status).unwrap_or(0)
}

fn parse_resident_bytes(status: &str) -> Option<u64> {
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
    fn resident_memory_is_in_bytes() {
        assert_eq!(
            parse_resident_bytes("VmPeak:\t 9 kB\nVmRSS:\t    1824 kB\n"),
            Some(1_867_776)
        );
        assert_eq!(parse_resident_bytes("Name:\tx\n"), None);
        assert!(resident_bytes() > 100_000);
    }
}
