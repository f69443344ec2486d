//! `iter/task_file`: which processes hold sockets in CLOSE_WAIT, and those that listen.

use core::ffi::c_void;
use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_seq_write, bpf_sock_from_file};
use tcpclose_common::{SocketDescriptor, TcpState, task_file_context};

use crate::kernel::{Sock, config, load};

/// Called for each descriptor of each process, and once more at the end, without any.
#[inline(always)]
pub fn on_file(ctx: *mut c_void) {
    let ctx = ctx.cast_const();
    // SAFETY: user space has found the context's members at these offsets in the kernel's BTF; the
    // verifier types what they point to, and checks each load from there at the offsets of its BTF.
    unsafe {
        let task: *const c_void = load(ctx, task_file_context::TASK);
        let file: *const c_void = load(ctx, task_file_context::FILE);
        if task.is_null() || file.is_null() {
            return;
        }
        let socket: *const c_void = bpf_sock_from_file(file.cast_mut().cast())
            .cast_const()
            .cast();
        if socket.is_null() {
            return;
        }
        let sk = Sock(load(socket, config!(socket_sk)));
        let state: u8 = sk.field(config!(skc_state));
        if state != TcpState::CloseWait && state != TcpState::Listen {
            return;
        }
        // A descriptor table that a thread has for itself is not /proc/PID/fd. Where the first
        // thread has exited, the kernel visits each of the others.
        let pid: u32 = load(task, config!(task_tgid));
        if pid != load::<u32>(task, config!(task_pid)) {
            let first: *const c_void = load(task, config!(task_group_leader));
            let files: *const c_void = load(first, config!(task_files));
            if !files.is_null() {
                return;
            }
        }
        let inode: *const c_void = load(file, config!(file_inode));
        let descriptor = SocketDescriptor {
            pid,
            fd: load(ctx, task_file_context::FD),
            inode: load::<u64>(inode, config!(inode_number)) as u32,
        };
        let meta: *const c_void = load(ctx, task_file_context::META);
        let seq: *const c_void = load(meta, task_file_context::META_SEQ);
        bpf_seq_write(
            seq.cast_mut().cast(),
            (&raw const descriptor).cast(),
            size_of::<SocketDescriptor>() as u32,
        );
    }
}
