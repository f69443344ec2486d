//! The name of the host, as receivers see it.

/// Returns the name that uname(2) shows; `None` where it is empty or not UTF-8.
pub(super) fn host_name() -> Option<String> {
    let uname = rustix::system::uname();
    let name = uname.nodename().to_str().ok()?;
    (!name.is_empty()).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_one_in_proc() {
        let shown = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("/proc is there");
        assert_eq!(host_name().as_deref(), Some(shown.trim_end()));
    }
}
