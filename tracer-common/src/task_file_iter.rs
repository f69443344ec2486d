use core::mem::{align_of, size_of};

/// A descriptor of a socket in CLOSE_WAIT, or of one that listens: what the iterator over open files writes.
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
