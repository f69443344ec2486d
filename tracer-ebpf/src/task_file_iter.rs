//! `iter/task_file`: who holds sockets in CLOSE_WAIT, and those that listen.

use core::ffi::c_void;
use core::mem::size_of;

use aya_ebpf::helpers::generated::{bpf_seq_write, bpf_sock_from_file};
use tcpclose_common::SocketDescriptor;

use crate::kernel::{Sock, config, load};

/// `struct bpf_iter__task_file`, in bytes from its start.
const META: u32 = 0;
const TASK: u32 = 8;
const FD: u32 = 16;
const FILE: u32 = 24;
/// `struct bpf_iter_meta`: `seq`.
const SEQ: u32 = 0;

const CLOSE_WAIT: u8 = 8;
const LISTEN: u8 = 10;

/// Called for each descriptor of each process, and once more at the end, without any.
#[inline(always)]
pub fn on_file(ctx: *mut c_void) {
    let ctx = ctx.cast_const();
    // SAFETY: the context's members stand where the kernel's headers say; the verifier types what they point to, and
    // checks each load from there at the offsets of its BTF.
    unsafe {
        let task: *const c_void = load(ctx, TASK);
        let file: *const c_void = load(ctx, FILE);
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
        if state != CLOSE_WAIT && state != LISTEN {
            return;
        }
        // A descriptor table that a thread has for itself is not /proc/PID/fd. Where the first thread has exited, the
        // kernel comes by with each of the others.
        let pid: u32 = load(task, config!(task_tgid));
        if pid != load::<u32>(task, config!(task_pid)) {
            let first: *const c_void = load(task, config!(task_group_leader));
            let files: *const c_void = load(first, config!(task_files));
            if !files.is_null() {
                return;
            }
        }
        let inode: *const c_void = load(file, config!(file_inode));
        let held = SocketDescriptor {
            pid,
            fd: load(ctx, FD),
            inode: load::<u64>(inode, config!(inode_number)) as u32,
        };
        let meta: *const c_void = load(ctx, META);
        let seq: *const c_void = load(meta, SEQ);
        bpf_seq_write(
            seq.cast_mut().cast(),
            (&raw const held).cast(),
            size_of::<SocketDescriptor>() as u32,
        );
    }
}
