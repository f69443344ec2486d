//! Reads which kernel runs.

/// Returns the kernel's release, as `uname -r` prints it: `6.12.48+deb13-cloud-amd64`.
#[must_use]
pub fn kernel_release() -> String {
    let uname = rustix::system::uname();
    uname.release().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_one_that_proc_shows() {
        let shown = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is there");
        assert_eq!(super::kernel_release(), shown.trim_end());
    }
}
