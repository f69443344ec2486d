//! Which boot of the host this is.

use std::fs;
use std::io;

/// Returns the id that the kernel made when it booted: a UUID, another one for each boot.
///
/// # Errors
/// /proc does not show it.
pub fn boot_id() -> io::Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::boot_id;

    #[test]
    fn it_stays_the_same() {
        let id = boot_id().expect("/proc shows it");
        assert_eq!(id.len(), 36);
        assert_eq!(boot_id().ok(), Some(id));
    }
}
