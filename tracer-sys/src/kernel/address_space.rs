//! The limit of a process's address space (`RLIMIT_AS`). A program that reaches it is ended by the
//! next allocation, without a message that helps.

use rustix::process::{Resource, getrlimit};

/// What is needed beside the rings: the program, the kernel's BTF, the threads. Measured on 6.18
/// with two processors: without a limit that is below this, `tcpclose watch` starts.
const BESIDE_RINGS: u64 = 128 << 20;

/// The process may not use enough address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this process may use {} MiB of address space (RLIMIT_AS) and needs {} MiB: raise the limit with \
     `ulimit -v unlimited`, or in a systemd unit with LimitAS=infinity",
    .limit >> 20,
    .needed >> 20
)]
pub struct TooLittleAddressSpace {
    limit: u64,
    needed: u64,
}

/// Checks the limit for rings of so many bytes in all.
///
/// # Errors
/// The limit is too low.
pub(super) fn check(ring_bytes: u64) -> Result<(), TooLittleAddressSpace> {
    check_limit(getrlimit(Resource::As).current, ring_bytes)
}

fn check_limit(limit: Option<u64>, ring_bytes: u64) -> Result<(), TooLittleAddressSpace> {
    // The kernel maps the pages of a ring twice.
    let needed = BESIDE_RINGS + 2 * ring_bytes;
    match limit {
        Some(limit) if limit < needed => Err(TooLittleAddressSpace { limit, needed }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_low_is_named_with_what_is_needed() {
        let rings = 8 << 20;
        assert_eq!(check_limit(None, rings), Ok(()));
        assert_eq!(check_limit(Some(144 << 20), rings), Ok(()));
        let error = check_limit(Some(100 << 20), rings).expect_err("it is too low");
        let words = "may use 100 MiB of address space (RLIMIT_AS) and needs 144 MiB: raise";
        assert!(error.to_string().contains(words), "{error}");
    }
}
