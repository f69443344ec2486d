//! System calls that only tests make.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::ffi::CString;
use std::io;
use std::path::Path;

/// Gives the calling thread a mount namespace of its own, from which nothing spreads. Threads and processes that it
/// starts are in it too.
pub fn unshare_mounts() -> io::Result<()> {
    // SAFETY: no memory is passed. CLONE_FS, as a namespace's owner must share its root with no other thread.
    done(unsafe { libc::unshare(libc::CLONE_FS | libc::CLONE_NEWNS) })?;
    mount(
        "none",
        Path::new("/"),
        None,
        libc::MS_REC | libc::MS_PRIVATE,
        "",
    )
}

/// Mounts a tmpfs.
pub fn mount_tmpfs(at: &Path, options: &str) -> io::Result<()> {
    mount("tmpfs", at, Some("tmpfs"), 0, options)
}

/// Makes a named pipe.
pub fn make_pipe(at: &Path) -> io::Result<()> {
    let at = CString::new(at.to_string_lossy().as_bytes())?;
    // SAFETY: a string that outlives the call.
    done(unsafe { libc::mkfifo(at.as_ptr(), 0o600) })
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(pid: u32, signal: libc::c_int) {
    let pid = libc::pid_t::try_from(pid).expect("a process");
    // SAFETY: no memory is passed.
    done(unsafe { libc::kill(pid, signal) }).expect("a signal to a child");
}

fn mount(
    source: &str,
    at: &Path,
    kind: Option<&str>,
    flags: libc::c_ulong,
    options: &str,
) -> io::Result<()> {
    let c = |text: &str| CString::new(text).map_err(io::Error::from);
    let (source, at, options) = (c(source)?, c(&at.to_string_lossy())?, c(options)?);
    let kind = kind.map(c).transpose()?;
    let kind = kind.as_ref().map_or(std::ptr::null(), |kind| kind.as_ptr());
    // SAFETY: strings that outlive the call, or null where the kernel takes it.
    done(unsafe {
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind,
            flags,
            options.as_ptr().cast(),
        )
    })
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
