//! Descriptor tables that a thread has for itself (`unshare(CLONE_FILES)`): /proc/PID/fd shows that
//! of the first thread only.

#![expect(unsafe_code, reason = "kcmp(2), which rustix does not have")]

use std::io;
use std::path::PathBuf;

use super::descriptor_links::visit_descriptors_in;
use super::proc_dir::{is_process_gone, numbered_entries};

/// `KCMP_FILES` of `linux/kcmp.h`.
const KCMP_FILES: libc::c_int = 2;

/// Calls `visit` with each descriptor in a table that is not the first thread's, and the thread
/// that has it; once where several threads share such a table. Comparing two threads takes one
/// system call, so a process whose threads share one table costs no more than a call for each.
/// Nothing is visited where the kernel does not compare (before 5.12 without
/// `CONFIG_CHECKPOINT_RESTORE`).
pub(super) fn visit_thread_tables(
    pid: u32,
    mut visit: impl FnMut(u32, u32, &[u8]),
) -> io::Result<()> {
    let tasks = PathBuf::from(format!("/proc/{pid}/task"));
    let mut distinct = vec![pid];
    for thread in numbered_entries(&tasks)? {
        let thread = thread?;
        let mut is_known = false;
        for known in &distinct {
            match share_table(*known, thread) {
                Ok(share) => is_known |= share,
                // It has exited.
                Err(error) if is_process_gone(&error) => is_known = true,
                Err(error) => return Err(error),
            }
            if is_known {
                break;
            }
        }
        if !is_known {
            let path = tasks.join(thread.to_string()).join("fd");
            match visit_descriptors_in(&path, |fd, link| visit(thread, fd, link)) {
                Ok(_) => distinct.push(thread),
                Err(error) if is_process_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Returns whether two threads have the same table of descriptors.
fn share_table(one: u32, other: u32) -> io::Result<bool> {
    if one == other {
        return Ok(true);
    }
    // SAFETY: kcmp() takes five numbers, and changes nothing.
    let result = unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_FILES, 0, 0) };
    match result {
        0 => Ok(true),
        1.. => Ok(false),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_share_the_table_are_not_read() -> io::Result<()> {
        let (over, end) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || end.recv().is_ok());
        let mut visited = 0;
        visit_thread_tables(std::process::id(), |_, _, _| visited += 1)?;
        assert_eq!(visited, 0);
        drop(over);
        thread.join().expect("it does not panic");
        Ok(())
    }
}
