use core::mem::{align_of, offset_of, size_of};

/// Bytes of a task's `comm`, its closing NUL included (the kernel's `TASK_COMM_LEN`).
pub const COMM_LEN: usize = 16;

/// Bits of [`TransitionRecord::flags`] and [`crate::SignalRecord::flags`].
pub mod flags {
    /// `id` is the socket cookie. Without it, `id` is the socket's address, which the kernel
    /// reuses.
    pub const COOKIE: u32 = 1 << 0;
    /// The fields read from the socket are filled. The classic tracepoint has none of them.
    pub const EVIDENCE: u32 = 1 << 1;
    /// `pid`, `uid`, `cgroup` and `comm` are of the task whose system call drove the transition.
    pub const TASK: u32 = 1 << 2;
    /// `SOCK_DEAD`: no process holds the socket any more.
    pub const DEAD: u32 = 1 << 3;
    /// `SOCK_DONE`: the peer's FIN has been received.
    pub const DONE: u32 = 1 << 4;
    /// `sk_socket` is NULL: not yet accepted, or (with [`DEAD`]) orphaned.
    pub const NO_SOCKET: u32 = 1 << 5;
    /// A process holds the socket's lock, so segments may have been waiting in its backlog.
    pub const OWNED: u32 = 1 << 6;
    /// `SO_LINGER` is on with a time of zero: close() resets.
    pub const LINGER_ZERO: u32 = 1 << 7;
    /// The peer's FIN carried no data: the newest segment of the receive queue begins with it, or
    /// all before it had been acknowledged (`rcv_wup`) or read (`copied_seq`).
    pub const FIN_ALONE: u32 = 1 << 8;
    /// The application has not read all data that was received.
    pub const UNREAD: u32 = 1 << 9;
    /// The connection uses timestamps (RFC 7323).
    pub const TIMESTAMPS: u32 = 1 << 10;
    /// The last segment received carried a timestamp.
    pub const SAW_TIMESTAMP: u32 = 1 << 11;
    /// The minisocket is in no hash chain any more.
    pub const GONE: u32 = 1 << 12;
    /// The last thread of the task's process is past exit(): its exit closes its descriptors.
    pub const EXITS: u32 = 1 << 13;
    /// The task's process has threads that are not past exit(). Neither this nor [`EXITS`]: not
    /// known.
    pub const GOES_ON: u32 = 1 << 14;
    /// `TCP_REPAIR` is on: close() sends nothing.
    pub const REPAIR: u32 = 1 << 15;
}

/// One state transition of one TCP socket, with the evidence in the socket *before* it took effect
/// (`sock:inet_sock_set_state` fires before `sk_state` is written).
///
/// Sequence numbers are the absolute ones of the wire; counters are the kernel's `tcp_sock` fields
/// of the same names.
///
/// The fields that most transitions do not have come last, and are left out in the ring: a record
/// has [`Self::BARE`] bytes, with a task [`Self::WITH_TASK`], and all of them for IPv6.
#[derive(Clone, Copy)]
#[cfg_attr(feature = "user", derive(Debug, bytemuck::AnyBitPattern))]
#[repr(C)]
pub struct TransitionRecord {
    /// Always [`crate::RecordKind::Transition`].
    pub kind: u8,
    /// The state that is left.
    pub old: u8,
    /// The state that is entered; never TIME_WAIT or NEW_SYN_RECV.
    pub new: u8,
    /// The IP version on the wire, 4 or 6; a v4-mapped connection is 4.
    pub ip: u8,
    /// Bits of [`flags`].
    pub flags: u32,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub at: u64,
    /// The socket's identity, which joins its records: see [`flags::COOKIE`].
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
    /// First sequence number sent and not yet acknowledged.
    pub snd_una: u32,
    /// Next sequence number to send.
    pub snd_nxt: u32,
    /// Sequence number behind all that the application has written.
    pub write_seq: u32,
    /// Next sequence number expected from the peer.
    pub rcv_nxt: u32,
    /// Bytes that the peer accepts from `snd_una` on.
    pub snd_wnd: u32,
    /// Sequence number of the segment whose ACK last moved `snd_una` or the window (RFC 9293's
    /// SND.WL1).
    pub snd_wl1: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Sequence space acknowledged by the peer (counts FIN, and the SYN of an active open).
    pub bytes_acked: u64,
    /// Sequence space received (counts FIN).
    pub bytes_received: u64,
    /// `sk_err`, an errno.
    pub error: u16,
    /// Segments that came out of order (`rcv_ooopack`), at most 65,535.
    pub out_of_order: u16,
    /// Segments sent again in the whole life of the connection (`total_retrans`).
    pub retransmits: u32,
    /// Process id (tgid); 0 without [`flags::TASK`].
    pub pid: u32,
    /// User id; 0 without [`flags::TASK`].
    pub uid: u32,
    /// Id of the cgroup (v2); 0 without [`flags::TASK`].
    pub cgroup: u64,
    /// Name of the process, NUL-padded; zeros without [`flags::TASK`].
    pub comm: [u8; COMM_LEN],
    /// Local IPv6 address.
    pub local_v6: [u8; 16],
    /// Peer's IPv6 address.
    pub peer_v6: [u8; 16],
}

impl TransitionRecord {
    /// Bytes of a record without a task, of IPv4.
    pub const BARE: usize = offset_of!(TransitionRecord, pid);
    /// Bytes of a record with a task, of IPv4.
    pub const WITH_TASK: usize = offset_of!(TransitionRecord, local_v6);
    /// Bytes of a record of IPv6.
    pub const WHOLE: usize = size_of::<TransitionRecord>();

    /// Returns how many bytes a record has in the ring.
    #[must_use]
    pub const fn length(ip: u8, has_task: bool) -> usize {
        if ip != 4 {
            Self::WHOLE
        } else if has_task {
            Self::WITH_TASK
        } else {
            Self::BARE
        }
    }
}

const _: () = {
    assert!(TransitionRecord::BARE == 104);
    assert!(TransitionRecord::WITH_TASK == 136);
    assert!(TransitionRecord::WHOLE == 168);
    assert!(align_of::<TransitionRecord>() == 8);
    assert!(offset_of!(TransitionRecord, flags) == 4);
    assert!(offset_of!(TransitionRecord, at) == 8);
    assert!(offset_of!(TransitionRecord, id) == 16);
    assert!(offset_of!(TransitionRecord, skaddr) == 24);
    assert!(offset_of!(TransitionRecord, local_v4) == 32);
    assert!(offset_of!(TransitionRecord, peer_v4) == 36);
    assert!(offset_of!(TransitionRecord, local_port) == 40);
    assert!(offset_of!(TransitionRecord, netns) == 44);
    assert!(offset_of!(TransitionRecord, snd_una) == 48);
    assert!(offset_of!(TransitionRecord, segs_in) == 72);
    assert!(offset_of!(TransitionRecord, bytes_acked) == 80);
    assert!(offset_of!(TransitionRecord, error) == 96);
    assert!(offset_of!(TransitionRecord, cgroup) == 112);
    // The last field ends where the record ends: no padding anywhere.
    assert!(offset_of!(TransitionRecord, peer_v6) + 16 == TransitionRecord::WHOLE);
};
