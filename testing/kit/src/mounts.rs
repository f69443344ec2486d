//! Mount namespaces of our own.

#![expect(unsafe_code, reason = "unshare(2)")]

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread into a mount namespace of its own, from which nothing spreads. Threads
/// and processes that it starts are in it, too.
///
/// # Errors
/// It is not allowed.
pub fn enter_new_mounts() -> io::Result<()> {
    // The owner of a namespace must share its root with no other thread: FS.
    // SAFETY: no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::FS | UnshareFlags::NEWNS) }?;
    mount_change(
        c"/",
        MountPropagationFlags::REC | MountPropagationFlags::PRIVATE,
    )?;
    Ok(())
}

/// Mounts a tmpfs.
///
/// # Errors
/// It is not allowed, or there is no such folder.
pub fn mount_tmpfs(at: &Path, options: &CStr) -> io::Result<()> {
    mount(c"tmpfs", at, c"tmpfs", MountFlags::empty(), options)?;
    Ok(())
}

/// Mounts /proc anew. The kernel's own options are `hidepid=2` and the like.
///
/// # Errors
/// It is not allowed.
pub fn mount_proc(options: &CStr) -> io::Result<()> {
    mount(c"proc", c"/proc", c"proc", MountFlags::empty(), options)?;
    Ok(())
}

/// Mounts tracefs where it belongs, unless it is there already.
///
/// # Errors
/// It is not allowed, or the kernel has none.
pub fn mount_tracefs() -> io::Result<()> {
    let flags = MountFlags::empty();
    match mount(c"tracefs", c"/sys/kernel/tracing", c"tracefs", flags, c"") {
        // The kernel refuses to mount the same file system twice on one place.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Mounts a file on a new file.
///
/// # Errors
/// It is not allowed, or there is no such file.
pub fn bind(from: &Path, to: &Path) -> io::Result<()> {
    File::create(to)?;
    mount_bind(from, to)?;
    Ok(())
}

/// Mounts a folder and all that is mounted below it on another folder, which is made.
///
/// # Errors
/// It is not allowed, or there is no such folder.
pub fn bind_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    mount_bind_recursive(from, to)?;
    Ok(())
}

/// Mounts a root at `at` that looks like `lower`; what is changed there goes into the folder
/// `changes`, on another file system than `lower`.
///
/// # Errors
/// It is not allowed, or the file systems do not fit.
pub fn mount_overlay(lower: &Path, changes: &Path, at: &Path) -> io::Result<()> {
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    for folder in [&upper, &work] {
        fs::create_dir_all(folder)?;
    }
    fs::create_dir_all(at)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let options = CString::new(options)?;
    mount(
        c"overlay",
        at,
        c"overlay",
        MountFlags::empty(),
        options.as_c_str(),
    )?;
    Ok(())
}
