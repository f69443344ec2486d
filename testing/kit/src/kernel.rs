//! The running kernel.

/// Returns the major and the minor version of the running kernel.
///
/// # Panics
/// Where there is no /proc.
#[must_use]
pub fn kernel_version() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease");
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (
        numbers.next().expect("major"),
        numbers.next().expect("minor"),
    )
}
