//! What the iterator over open files reports of each socket.

use core::mem::{align_of, size_of};

/// A descriptor of a socket in CLOSE_WAIT, or of one that listens: what the iterator over open
/// files writes.
#[derive(Clone, Copy)]
#[cfg_attr(
    feature = "user",
    derive(Debug, PartialEq, Eq, PartialOrd, Ord, bytemuck::AnyBitPattern)
)]
#[repr(C)]
pub struct SocketDescriptor {
    /// Process id (tgid), in the initial pid namespace.
    pub pid: u32,
    /// Number of the descriptor.
    pub fd: u32,
    /// Inode in sockfs.
    pub inode: u32,
}

const _: () = {
    assert!(size_of::<SocketDescriptor>() == 12);
    assert!(align_of::<SocketDescriptor>() == 4);
};

/// Where the members of the iterator's context are (`struct bpf_iter__task_file` of
/// kernel/bpf/task_iter.c), in bytes.
///
/// The verifier refuses a load from a context at an offset that it does not find in the instruction
/// (`__check_ptr_off_reg` of kernel/bpf/verifier.c: "dereference of modified ctx ptr"), so these
/// cannot come from the kernel's BTF as all others do. User space compares them with it before it
/// loads the program. They have not moved since 5.8, each being eight bytes (`__bpf_md_ptr`).
pub mod task_file_context {
    /// The offset of `meta`.
    pub const META: u32 = 0;
    /// The offset of `task`.
    pub const TASK: u32 = 8;
    /// The offset of `fd`.
    pub const FD: u32 = 16;
    /// The offset of `file`.
    pub const FILE: u32 = 24;
    /// The offset of `seq` in `struct bpf_iter_meta`.
    pub const META_SEQ: u32 = 0;
    /// All members of the context, by their names.
    pub const MEMBERS: [(&str, u32); 4] =
        [("meta", META), ("task", TASK), ("fd", FD), ("file", FILE)];
}
