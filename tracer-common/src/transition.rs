//! The record of a state transition.

use core::mem::{align_of, offset_of, size_of};

use crate::evidence::TcpFields;

/// Bytes of a task's `comm`, its closing NUL included (the kernel's `TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// The thread that called connect(), in the place of [`TransitionRecord::tcp`].
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug, bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct CallingThread {
    /// Its id, in the initial pid namespace.
    pub tid: u32,
    /// Its name, NUL-padded.
    pub comm: [u8; COMM_LEN],
}

const _: () = {
    assert!(size_of::<CallingThread>() == 20);
    assert!(size_of::<CallingThread>() <= size_of::<TcpFields>());
    assert!(align_of::<CallingThread>() <= align_of::<TcpFields>());
};

/// One state transition of one TCP socket, with the evidence in the socket *before* it took effect
/// (`sock:inet_sock_set_state` fires before `sk_state` is written).
///
/// The fields that most transitions do not have come last, and are left out in the ring: a record
/// has [`Self::LEN_IPV4`] bytes, with a task [`Self::LEN_IPV4_WITH_TASK`], and [`Self::LEN_MAX`]
/// for IPv6.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug, bytemuck::Pod, bytemuck::Zeroable))]
#[repr(C)]
pub struct TransitionRecord {
    /// Always [`crate::RingRecordKind::Transition`].
    pub kind: u8,
    /// The state that is left.
    pub old: u8,
    /// The state that is entered; never TIME_WAIT or NEW_SYN_RECV.
    pub new: u8,
    /// The IP version on the wire, 4 or 6; a v4-mapped connection is 4.
    pub ip: u8,
    /// Bits of [`flags`](crate::flags).
    pub flags: u32,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at: u64,
    /// The socket's identity, which joins its records: see [`flags::COOKIE`](crate::flags::COOKIE).
    pub id: u64,
    /// The socket's address, as bcc's tools show it. No identity: it is reused within milliseconds.
    pub skaddr: u64,
    /// Local IPv4 address.
    pub local_v4: [u8; 4],
    /// Peer's IPv4 address.
    pub peer_v4: [u8; 4],
    /// Local port, host order; 0 while none is chosen.
    pub local_port: u16,
    /// Peer's port, host order.
    pub peer_port: u16,
    /// Inode number of the network namespace; 0 where the kernel does not give it.
    pub netns: u32,
    /// The socket's own evidence; zeros without [`flags::EVIDENCE`](crate::flags::EVIDENCE). With
    /// [`flags::CALLING_THREAD`](crate::flags::CALLING_THREAD) it begins with a [`CallingThread`].
    pub tcp: TcpFields,
    /// Process id (tgid); 0 without [`flags::TASK`](crate::flags::TASK).
    pub pid: u32,
    /// User id; 0 without [`flags::TASK`](crate::flags::TASK).
    pub uid: u32,
    /// Id of the cgroup (v2); 0 without [`flags::TASK`](crate::flags::TASK).
    pub cgroup: u64,
    /// Name of the process, NUL-padded; zeros without [`flags::TASK`](crate::flags::TASK).
    pub comm: [u8; COMM_LEN],
    /// Local IPv6 address.
    pub local_v6: [u8; 16],
    /// Peer's IPv6 address.
    pub peer_v6: [u8; 16],
}

impl TransitionRecord {
    /// Bytes of a record without a task, of IPv4.
    pub const LEN_IPV4: usize = offset_of!(TransitionRecord, pid);
    /// Bytes of a record with a task, of IPv4.
    pub const LEN_IPV4_WITH_TASK: usize = offset_of!(TransitionRecord, local_v6);
    /// Bytes of a record of IPv6.
    pub const LEN_MAX: usize = size_of::<TransitionRecord>();

    /// Returns how many bytes a record has in the ring.
    #[must_use]
    pub const fn len_for(ip: u8, has_task: bool) -> usize {
        if ip != 4 {
            Self::LEN_MAX
        } else if has_task {
            Self::LEN_IPV4_WITH_TASK
        } else {
            Self::LEN_IPV4
        }
    }
}

const _: () = {
    assert!(TransitionRecord::LEN_IPV4 == 112);
    assert!(TransitionRecord::LEN_IPV4_WITH_TASK == 144);
    assert!(TransitionRecord::LEN_MAX == 176);
    assert!(align_of::<TransitionRecord>() == 8);
    assert!(offset_of!(TransitionRecord, flags) == 4);
    assert!(offset_of!(TransitionRecord, at) == 8);
    assert!(offset_of!(TransitionRecord, id) == 16);
    assert!(offset_of!(TransitionRecord, skaddr) == 24);
    assert!(offset_of!(TransitionRecord, local_v4) == 32);
    assert!(offset_of!(TransitionRecord, peer_v4) == 36);
    assert!(offset_of!(TransitionRecord, local_port) == 40);
    assert!(offset_of!(TransitionRecord, netns) == 44);
    assert!(offset_of!(TransitionRecord, tcp) == 48);
    assert!(offset_of!(TransitionRecord, pid) == 112);
    assert!(offset_of!(TransitionRecord, cgroup) == 120);
    // The last field ends where the record ends: no padding anywhere.
    assert!(offset_of!(TransitionRecord, peer_v6) + 16 == TransitionRecord::LEN_MAX);
};
