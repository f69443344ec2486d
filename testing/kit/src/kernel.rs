//! The running kernel.

/// Returns the release of the running kernel, as `uname -r` prints it.
#[must_use]
pub fn kernel_release() -> String {
    let uname = rustix::system::uname();
    uname.release().to_string_lossy().into_owned()
}

/// Returns the major and the minor version of the running kernel.
///
/// # Panics
/// Where the release does not begin with them.
#[must_use]
pub fn kernel_version() -> (u32, u32) {
    let release = kernel_release();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    (
        numbers.next().expect("major"),
        numbers.next().expect("minor"),
    )
}

/// Returns whether the running kernel is a real-time one: `uname -v` has `PREEMPT_RT`.
#[must_use]
pub fn is_realtime() -> bool {
    let uname = rustix::system::uname();
    uname.version().to_string_lossy().contains("PREEMPT_RT")
}
