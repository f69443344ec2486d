//! The eBPF object: its bytes, and the names that its programs and maps have in it.

include!(concat!(env!("OUT_DIR"), "/ebpf_object.rs"));

/// The program on state transitions; the tracepoint has the same name.
pub(super) const SET_STATE: &str = "inet_sock_set_state";
/// The program that records the transitions which interrupt [`SET_STATE`].
pub(super) const SET_STATE_FALLBACK: &str = "inet_sock_set_state_nested";
/// The program on state transitions where the kernel has no BTF.
pub(super) const SET_STATE_CLASSIC: &str = "inet_sock_set_state_classic";
/// The program on the segments which a minisocket took and dropped; the tracepoint has the same
/// name.
pub(super) const KFREE_SKB: &str = "kfree_skb";
/// The program that the iterator over open files runs.
pub(super) const SOCKET_DESCRIPTORS: &str = "held_sockets";

/// The map with the stage of [`SET_STATE_FALLBACK`].
pub(super) const FALLBACK_STAGE: &str = "TWIN";
/// The map with the runs of each program.
pub(super) const PROGRAM_STATS: &str = "RUNS";
