//! The task whose system call drives a transition.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{self, bpf_get_current_cgroup_id, bpf_get_current_task_btf};
use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_current_uid_gid,
    bpf_probe_read_kernel,
};
use tcpclose_common::{COMM_LEN, CallingThread, TransitionRecord, flags};

use crate::kernel::{config, load};

/// `PF_KTHREAD` of include/linux/sched.h.
const PF_KTHREAD: u32 = 0x0020_0000;

/// Fills the record's task fields and returns the flags that go with them; none (and zeros) when
/// the task is a kernel thread: it performs a delayed close() for a process, and owns no
/// connection.
///
/// # Safety
/// `record` must point to writable memory of the record's size.
#[inline(always)]
pub unsafe fn fill_task(record: *mut TransitionRecord) -> u32 {
    let mut bits = flags::TASK;
    let mut comm = [0_u8; COMM_LEN];
    if config!(has_task) != 0 {
        // SAFETY: the helper returns the current task, typed; the offsets are BTF's.
        unsafe {
            let task = bpf_get_current_task_btf().cast::<c_void>().cast_const();
            if load::<u32>(task, config!(task_flags)) & PF_KTHREAD != 0 {
                clear_task(record);
                return 0;
            }
            // do_exit() counts a thread off before it closes its descriptors: when no thread is
            // left, the process's exit is what closes sockets.
            let signal: *const c_void = load(task, config!(task_signal));
            bits |= match load::<u32>(signal, config!(signal_live)) {
                0 => flags::PROCESS_EXITING,
                _ => flags::PROCESS_ALIVE,
            };
            // The process's name, as ps and ss show it: that of its first thread.
            let leader: *const c_void = load(task, config!(task_group_leader));
            let halves: [u64; 2] = [
                load(leader, config!(task_comm)),
                load(leader, config!(task_comm) + 8),
            ];
            comm = core::mem::transmute::<[u64; 2], [u8; COMM_LEN]>(halves);
        }
    } else if let Some(name) = leader_comm().or_else(|| bpf_get_current_comm().ok()) {
        comm = name;
    }
    // SAFETY: the caller's promise.
    unsafe {
        (*record).pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        (*record).uid = bpf_get_current_uid_gid() as u32;
        (*record).cgroup = bpf_get_current_cgroup_id();
        (*record).comm = comm;
    }
    bits
}

/// Writes the current thread in the place of the socket's fields, where connect() begins a
/// connection, and returns the flag that goes with it.
///
/// # Safety
/// As [`fill_task`].
#[inline(always)]
pub unsafe fn fill_calling_thread(record: *mut TransitionRecord) -> u32 {
    // SAFETY: the caller's promise; a thread takes less room than the fields, and no stricter
    // alignment.
    unsafe {
        let thread = (&raw mut (*record).tcp).cast::<CallingThread>();
        (*thread).tid = bpf_get_current_pid_tgid() as u32;
        // Straight into the record, with NULs behind it: it fails without a current task only.
        let comm = (&raw mut (*thread).comm).cast();
        generated::bpf_get_current_comm(comm, COMM_LEN as u32);
    }
    flags::CALLING_THREAD
}

/// Returns the process's name before 5.11, where the current task has no type for the verifier.
/// `None` without BTF.
#[inline(always)]
fn leader_comm() -> Option<[u8; COMM_LEN]> {
    if config!(task_comm) == 0 {
        return None;
    }
    // SAFETY: the helper checks what it reads; the offsets are BTF's.
    unsafe {
        let task = bpf_get_current_task() as *const u8;
        let leader = task
            .add(config!(task_group_leader) as usize)
            .cast::<*const u8>();
        let leader = bpf_probe_read_kernel(leader).ok()?;
        let comm = leader.add(config!(task_comm) as usize);
        bpf_probe_read_kernel(comm.cast::<[u8; COMM_LEN]>()).ok()
    }
}

/// Writes zeros where no task drives the transition.
///
/// # Safety
/// As [`fill_task`].
#[inline(always)]
pub unsafe fn clear_task(record: *mut TransitionRecord) {
    // SAFETY: the caller's promise.
    unsafe {
        (*record).pid = 0;
        (*record).uid = 0;
        (*record).cgroup = 0;
        (*record).comm = [0; COMM_LEN];
    }
}
