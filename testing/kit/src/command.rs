//! What a command does between fork() and exec(). Only system calls are made there: they are safe
//! after fork().

#![expect(unsafe_code, reason = "pre_exec, which must only make system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_bind, mount_remount};
use rustix::process::{Gid, Signal, Uid, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, UnshareFlags, remove_capability_from_bounding_set, set_thread_gid,
    set_thread_groups, set_thread_uid, unshare_unsafe,
};

use crate::mounts::{enter_new_mounts, mount_proc, mount_tmpfs, mount_tracefs};
use crate::namespace::enter_netns;

/// Makes the command start in a network namespace. `netns` must stay open until the command is
/// spawned.
pub fn spawn_in_netns(command: &mut Command, netns: &impl AsFd) {
    let fd = netns.as_fd().as_raw_fd();
    // SAFETY: a system call on a descriptor that the caller keeps open.
    unsafe {
        command.pre_exec(move || enter_netns(&BorrowedFd::borrow_raw(fd)));
    }
}

/// Makes the command start as an ordinary user without any capability.
pub fn as_unprivileged_user(command: &mut Command) {
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
                // The kernel refuses numbers behind its last capability: that is the end of the
                // list.
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

/// Makes the command start with a copy of `fd` as each of the `numbers`, and end when the calling
/// thread ends. The numbers must be higher than any in use here: one may be that of std's own pipe,
/// through which exec() reports its success.
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

/// Makes the command start in a mount namespace of its own with a /proc of its own, mounted with
/// these options. Call it before [`as_unprivileged_user`].
pub fn with_proc(command: &mut Command, options: &'static CStr) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(move || {
            enter_new_mounts()?;
            mount_proc(options)
        });
    }
}

/// Makes the command start in a mount namespace of its own that has tracefs: not every host has it
/// mounted.
pub fn with_tracefs(command: &mut Command) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            mount_tracefs()
        });
    }
}

/// Makes the command start in a mount namespace of its own where something else is mounted over
/// /proc.
pub fn without_proc(command: &mut Command) {
    // SAFETY: only system calls; a short path needs no memory.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            mount_tmpfs(Path::new("/proc"), c"")
        });
    }
}

/// Makes the command start in a mount namespace of its own where something else is mounted over
/// /sys.
pub fn without_sys(command: &mut Command) {
    // SAFETY: only system calls; a short path needs no memory.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            mount_tmpfs(Path::new("/sys"), c"")
        });
    }
}

/// Makes the command start in a mount namespace of its own where the kernel seems to have no BTF,
/// and tracefs is there in its place.
pub fn without_btf(command: &mut Command) {
    // SAFETY: only system calls; a short path needs no memory.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            mount_tracefs()?;
            mount_tmpfs(Path::new("/sys/kernel/btf"), c"")
        });
    }
}

/// Makes the command start in a user namespace of its own, as rootless containers do.
pub fn in_user_namespace(command: &mut Command) {
    // SAFETY: a system call; no descriptor table is unshared.
    unsafe {
        command.pre_exec(|| Ok(unshare_unsafe(UnshareFlags::NEWUSER)?));
    }
}

/// Makes the command start in a mount namespace of its own whose root is read-only.
pub fn with_read_only_root(command: &mut Command) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(|| {
            enter_new_mounts()?;
            let flags = MountFlags::BIND | MountFlags::RDONLY;
            Ok(mount_remount(c"/", flags, c"")?)
        });
    }
}

/// Makes the kernel report the release 2.6.x to the command (personality(2), `UNAME26`).
pub fn with_old_release(command: &mut Command) {
    const UNAME26: libc::c_ulong = 0x0002_0000;
    // SAFETY: a system call.
    unsafe {
        command.pre_exec(|| match libc::personality(UNAME26) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
}

/// Makes the command run in a profile of AppArmor. `order` is `exec PROFILE`
/// (aa_change_onexec(2)).
pub fn with_apparmor_profile(command: &mut Command, order: &'static CStr) {
    // SAFETY: only system calls.
    unsafe {
        command.pre_exec(|| {
            let file = c"/proc/thread-self/attr/apparmor/exec";
            let file = rustix::fs::open(file, OFlags::WRONLY, Mode::empty())?;
            rustix::io::write(&file, order.to_bytes())?;
            Ok(())
        });
    }
}

/// Makes bpf() fail with this error in the command, as seccomp filters of container runtimes do.
pub fn with_bpf_refused(command: &mut Command, error: Errno) {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let refuse = libc::SECCOMP_RET_ERRNO | error.raw_os_error() as u32;
    // The number of the system call is the first word of what a filter is given.
    let filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            libc::SYS_bpf as u32,
            0,
            1,
        ),
        statement(libc::BPF_RET | libc::BPF_K, refuse, 0, 0),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    // SAFETY: only system calls; the filter lives in the closure, and the kernel copies it.
    unsafe {
        command.pre_exec(move || {
            let program = libc::sock_fprog {
                len: filter.len() as u16,
                filter: filter.as_ptr().cast_mut(),
            };
            let set = libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER as libc::c_ulong,
                &raw const program,
            );
            match set {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

/// Makes the command start in a mount namespace of its own, with the namespace `netns` mounted on
/// the file `at`. `netns` must stay open until the command is spawned.
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
