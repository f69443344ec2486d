//! The eBPF object: its bytes, and the names that its programs and maps have in it.

/// The compiled eBPF programs.
pub(super) const EBPF_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tcpclose.o"));

/// The program on state transitions; the tracepoint has the same name.
pub(super) const SET_STATE: &str = "inet_sock_set_state";
/// The program that records the transitions which interrupt [`SET_STATE`].
pub(super) const SET_STATE_FALLBACK: &str = "inet_sock_set_state_fallback";
/// The program on state transitions where the kernel has no BTF.
pub(super) const SET_STATE_CLASSIC: &str = "inet_sock_set_state_classic";
/// The program on the segments which a minisocket took and dropped; the tracepoint has the same
/// name.
pub(super) const KFREE_SKB: &str = "kfree_skb";
/// The program that the iterator over open files runs.
pub(super) const SOCKET_DESCRIPTORS: &str = "socket_descriptors";

/// The global with the [`ProgramConfig`](tcpclose_common::ProgramConfig).
pub(super) const CONFIG: &str = "CONFIG";
/// The map with the local ports of the filter.
pub(super) const LOCAL_PORTS: &str = "LOCAL_PORTS";
/// The map with the peers' ports of the filter.
pub(super) const PEER_PORTS: &str = "PEER_PORTS";
/// The map with the number of records that found no room in their ring buffer.
pub(super) const LOST_RECORDS: &str = "LOST_RECORDS";
/// The map that shows whether the reader sleeps.
pub(super) const READER_ASLEEP: &str = "READER_ASLEEP";
/// The map with the stage of [`SET_STATE_FALLBACK`].
pub(super) const FALLBACK_STAGE: &str = "FALLBACK_STAGE";
/// The map with the runs of each program.
pub(super) const PROGRAM_STATS: &str = "PROGRAM_STATS";
