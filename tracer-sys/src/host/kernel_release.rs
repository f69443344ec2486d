//! Reads which kernel runs.

/// The oldest kernel that tcpclose works on: major and minor number.
pub const OLDEST_RELEASE: (u32, u32) = (5, 8);

/// Returns the kernel's release, as `uname -r` prints it: `6.12.48+deb13-cloud-amd64`.
#[must_use]
pub fn kernel_release() -> String {
    let uname = rustix::system::uname();
    uname.release().to_string_lossy().into_owned()
}

/// Returns whether a release is older than the oldest that tcpclose runs on. Distributions backport
/// features without changing the number, so this explains a failure and never predicts one.
#[must_use]
pub fn is_too_old(release: &str) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST_RELEASE,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{is_too_old, kernel_release};

    #[test]
    fn the_release_is_the_one_in_proc() {
        let shown = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is there");
        assert_eq!(kernel_release(), shown.trim_end());
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        for old in [
            "4.18.0-553.el8_10.x86_64",
            "5.4.0-200-generic",
            "5.7",
            "2.6.78",
        ] {
            assert!(is_too_old(old), "{old}");
        }
        for new in ["5.8.0", "5.10.0-32-amd64", "6.1.0", "10.0", "unknown", ""] {
            assert!(!is_too_old(new), "{new}");
        }
    }
}
