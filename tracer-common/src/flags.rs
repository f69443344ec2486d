//! Bits of [`crate::TransitionRecord::flags`] and [`crate::SignalRecord::flags`].

/// `id` is the socket cookie. Without it, `id` is the socket's address, which the kernel
/// reuses.
pub const COOKIE: u32 = 1 << 0;
/// The fields read from the socket are filled. The classic tracepoint has none of them.
pub const EVIDENCE: u32 = 1 << 1;
/// `pid`, `uid`, `cgroup` and `comm` are of the task whose system call drove the transition.
pub const TASK: u32 = 1 << 2;
/// `SOCK_DEAD`: no process holds the socket any more.
pub const SOCK_DEAD: u32 = 1 << 3;
/// `SOCK_DONE`: the peer's FIN has been received.
pub const SOCK_DONE: u32 = 1 << 4;
/// `sk_socket` is NULL: not yet accepted, or (with [`SOCK_DEAD`]) orphaned.
pub const NO_SOCKET: u32 = 1 << 5;
/// A process holds the socket's lock, so segments may have been waiting in its backlog.
pub const LOCK_OWNED: u32 = 1 << 6;
/// `SO_LINGER` is on with a time of zero: close() resets.
pub const LINGER_ZERO: u32 = 1 << 7;
/// The peer's FIN carried no data: the newest segment of the receive queue begins with it, or
/// all before it had been acknowledged (`rcv_wup`) or read (`copied_seq`).
pub const FIN_WITHOUT_DATA: u32 = 1 << 8;
/// The application has not read all data that was received.
pub const UNREAD: u32 = 1 << 9;
/// The connection uses timestamps (RFC 7323).
pub const TIMESTAMPS: u32 = 1 << 10;
/// The last segment received carried a timestamp.
pub const SAW_TIMESTAMP: u32 = 1 << 11;
/// The minisocket is in no hash chain any more.
pub const UNHASHED: u32 = 1 << 12;
/// Every thread of the task's process has called exit(): that closes its descriptors.
pub const PROCESS_EXITING: u32 = 1 << 13;
/// Some thread of the task's process has not called exit() yet. If neither this nor
/// [`PROCESS_EXITING`] is set, the kernel does not show it.
pub const PROCESS_ALIVE: u32 = 1 << 14;
/// `TCP_REPAIR` is on: close() sends nothing.
pub const REPAIR: u32 = 1 << 15;
/// The peer's FIN waits in the out-of-order queue, behind segments that have not come.
pub const FIN_OUT_OF_ORDER: u32 = 1 << 16;
/// Segments wait in the backlog, or are just being taken from it.
pub const BACKLOG: u32 = 1 << 17;
/// The peer's FIN is taken now, and its segment does not acknowledge `snd_una` (a later ACK has
/// overtaken it), or cannot be read.
pub const FIN_ACK_DIFFERS: u32 = 1 << 18;
/// The peer's FIN is taken now, and the time that it echoes (RFC 7323) is that of the peer's own
/// last data, half a second ago or more: when it sent the FIN, nothing that this host had sent
/// since had reached it, but for acknowledgments of that data.
pub const PEER_SAW_SILENCE: u32 = 1 << 19;
/// The ACK of this host's FIN is taken now, and `sent_ms_ago` is not about data: it has the
/// microseconds since the segment with the FIN was last sent, plus one.
pub const FIN_SENT_TIME: u32 = 1 << 20;
/// connect() begins a connection: `tcp` has not the socket's fields, which show nothing yet, but
/// the [`CallingThread`](crate::CallingThread).
pub const CALLING_THREAD: u32 = 1 << 21;
