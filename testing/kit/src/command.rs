//! What a command does between fork() and exec(). Only system calls are made there: they are safe after fork().

#![expect(unsafe_code, reason = "pre_exec, which must only make system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::mount::mount_bind;
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, remove_capability_from_bounding_set, set_thread_gid, set_thread_groups,
    set_thread_uid,
};

use crate::mounts::{enter_new_mounts, mount_proc, mount_tmpfs, mount_tracefs};
use crate::namespace::enter_netns;

/// Makes the command start in a network namespace. `netns` must stay open until the command is spawned.
pub fn spawn_in_netns(command: &mut Command, netns: &impl AsFd) {
    let fd = netns.as_fd().as_raw_fd();
    // SAFETY: a system call on a descriptor that the caller keeps open.
    unsafe {
        command.pre_exec(move || enter_netns(&BorrowedFd::borrow_raw(fd)));
    }
}

/// Makes the command start as an ordinary user without any capability.
pub fn as_nobody(command: &mut Command) {
    const NOBODY: u32 = 65534;
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(|| {
            set_thread_groups(&[])?;
            set_thread_gid(Gid::from_raw(NOBODY))?;
            set_thread_uid(Uid::from_raw(NOBODY))?;
            Ok(())
        });
    }
}

/// Makes the command start as root with no capability but `kept` in its bounding set.
pub fn with_only_capabilities(command: &mut Command, kept: CapabilitySet) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(move || {
            for number in 0..u64::BITS {
                let capability = CapabilitySet::from_bits_retain(1 << number);
                // The kernel refuses numbers behind its last capability: that is the end of the list.
                if !kept.contains(capability)
                    && remove_capability_from_bounding_set(capability).is_err()
                {
                    break;
                }
            }
            Ok(())
        });
    }
}

/// Makes the command end when the thread ends that starts it.
pub fn end_with_this_thread(command: &mut Command) {
    // SAFETY: a system call.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
}

/// Makes the command start with a copy of `fd` as each of the `numbers`, and end when the calling thread ends. The numbers
/// must be higher than any in use here: one may be that of std's own pipe, through which exec() reports its success.
pub fn inherit(command: &mut Command, fd: &impl AsRawFd, numbers: &[RawFd]) {
    end_with_this_thread(command);
    let (fd, numbers) = (fd.as_raw_fd(), numbers.to_vec());
    // SAFETY: only system calls; nothing owns the new descriptors but the program that is executed.
    unsafe {
        command.pre_exec(move || {
            for &number in &numbers {
                if libc::dup2(fd, number) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
}

/// Makes the command start in a mount namespace of its own with a /proc of its own, mounted with these options. Call it
/// before [`as_nobody`].
pub fn with_proc(command: &mut Command, options: &'static CStr) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(move || {
            enter_new_mounts()?;
            mount_proc(options)
        });
    }
}

/// Makes the command start in a mount namespace of its own that has tracefs: not every host has it mounted.
pub fn with_tracefs(command: &mut Command) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            mount_tracefs()
        });
    }
}

/// Makes the command start in a mount namespace of its own where something else is mounted over /proc.
pub fn without_proc(command: &mut Command) {
    // SAFETY: only system calls; a short path needs no memory.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            mount_tmpfs(Path::new("/proc"), c"")
        });
    }
}

/// Makes the command start in a mount namespace of its own, with the namespace `netns` mounted on the file `at`. `netns`
/// must stay open until the command is spawned.
///
/// # Panics
/// The path has a zero byte.
pub fn with_mounted_netns(command: &mut Command, netns: &impl AsFd, at: &Path) {
    let from = format!("/proc/self/fd/{}", netns.as_fd().as_raw_fd());
    let from = CString::new(from).expect("no zero byte in it");
    let to = CString::new(at.as_os_str().as_encoded_bytes()).expect("no zero byte in it");
    // SAFETY: only system calls, on C strings that need no conversion.
    unsafe {
        command.pre_exec(move || {
            enter_new_mounts()?;
            Ok(mount_bind(from.as_c_str(), to.as_c_str())?)
        });
    }
}
