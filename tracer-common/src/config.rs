//! What user space decides for the eBPF programs before they are loaded.

use core::mem::size_of;

macro_rules! config {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What user space writes for the eBPF programs at load time, into their frozen `.rodata`:
        /// where this kernel keeps its fields, what it allows, and the filters. All are `u32`, so
        /// the verifier folds each into a constant. A field without a description is the offset of
        /// the kernel's field of that name.
        #[derive(Clone, Copy)]
        #[cfg_attr(feature = "user", derive(Debug, Default, bytemuck::NoUninit))]
        #[repr(C)]
        #[expect(missing_docs, reason = "many fields have the kernel's names")]
        pub struct ProgramConfig {
            $($(#[$doc])* pub $field: u32,)*
        }

        impl ProgramConfig {
            /// All zero: what the object file holds before it is loaded.
            pub const ZERO: Self = Self { $($field: 0,)* };
            const FIELDS: usize = [$(stringify!($field)),*].len();
        }
    };
}

config! {
    // struct sock, in bytes from its start
    skc_flags,
    skc_state,
    skc_family,
    /// The offset of `__sk_common.skc_net.net`
    skc_net,
    skc_rcv_saddr,
    skc_daddr,
    skc_v6_rcv_saddr,
    skc_v6_daddr,
    skc_dport,
    /// `__sk_common.skc_num`: the local port, in host order
    skc_num,
    /// `__sk_common.skc_cookie`, of a minisocket too
    skc_cookie,
    /// `__sk_common.skc_node.pprev`: NULL in a minisocket that is in no hash chain
    skc_node_pprev,
    /// `struct inet_timewait_sock`: `tw_substate`
    tw_substate,
    sk_err,
    sk_socket,
    /// The offset of `sk_lock.owned`
    sk_lock_owned,
    sk_lingertime,
    /// `sk_receive_queue.prev`: its newest segment
    sk_receive_queue_tail,
    /// `sk_backlog.len`: not 0 until all of the backlog has been processed
    sk_backlog_len,
    /// `struct net`: `ns.inum`
    net_inum,
    sk_protocol,
    sk_type,

    // struct tcp_sock, in bytes from its start
    /// `inet_conn.icsk_inet.inet_sport`: still set where `skc_num` is 0 already
    inet_sport,
    snd_una,
    snd_nxt,
    write_seq,
    rcv_nxt,
    /// `rcv_wup`: `rcv_nxt` when a segment was last sent
    rcv_wup,
    snd_wnd,
    snd_wl1,
    copied_seq,
    segs_in,
    segs_out,
    bytes_acked,
    bytes_received,
    total_retrans,
    rcv_ooopack,
    /// `lsndtime`, in ticks of the clock (`tcp_jiffies32`); 0 where the kernel has no such field
    lsndtime,
    /// `inet_conn.icsk_ack.lrcvtime`, as `lsndtime`
    lrcvtime,
    /// `first_tx_mstamp`, when the last segment that was acknowledged had been sent, in
    /// microseconds of `CLOCK_MONOTONIC`; 0 where the kernel has no such field
    first_tx_mstamp,
    /// `rx_opt.rcv_tsecr`; 0 where the kernel has no such field
    rcv_tsecr,
    /// `out_of_order_queue.rb_node`: NULL while no segment is out of order
    out_of_order_root,
    /// `ooo_last_skb`: the out-of-order segment with the highest number
    out_of_order_last,
    /// The byte of `rx_opt` that begins with the bits `saw_tstamp` and `tstamp_ok`
    rx_opt_bits,
    /// The byte that holds the bit `repair`
    repair_byte,
    /// The bit `repair`, counted from the lowest of its byte
    repair_bit,

    // struct sk_buff and struct task_struct
    /// `sk_buff.cb` plus `tcp_skb_cb.tcp_flags`
    skb_tcp_flags,
    /// `sk_buff.cb` plus `tcp_skb_cb.seq`
    skb_seq,
    /// `sk_buff.cb` plus `tcp_skb_cb.end_seq`
    skb_end_seq,
    /// `sk_buff.cb` plus `tcp_skb_cb.ack_seq`
    skb_ack_seq,
    /// The offset of `sk_buff.sk`
    skb_sk,
    /// The offset of `sk_buff.skb_iif`: 0 where this host has made the packet
    skb_iif,
    /// The offset of `sk_buff.head`
    skb_head,
    /// The offset of `sk_buff.data`
    skb_data,
    /// The offset of `sk_buff.len`
    skb_len,
    /// `sk_buff.transport_header`, in bytes from `head`
    skb_transport_header,
    /// The offset of `task_struct.flags`
    task_flags,
    /// The offset of `task_struct.group_leader`
    task_group_leader,
    /// The offset of `task_struct.comm`
    task_comm,
    /// The offset of `task_struct.signal`
    task_signal,
    /// `signal_struct.live`: threads that are not past exit()
    signal_live,

    // struct file, struct inode and struct socket
    /// `task_struct.pid`, the id of the thread
    task_pid,
    /// `task_struct.tgid`, the id of the process
    task_tgid,
    /// `task_struct.files`: NULL where the thread has exited
    task_files,
    /// The offset of `file.f_inode`
    file_inode,
    /// The offset of `inode.i_ino`
    inode_number,
    /// The offset of `socket.sk`
    socket_sk,

    // The context of the classic tracepoint, in bytes from its start
    /// Bytes of the record that hold fields
    classic_size,
    /// The offset of `skaddr`
    classic_skaddr,
    /// The offset of `oldstate`
    classic_oldstate,
    /// The offset of `newstate`
    classic_newstate,
    /// The offset of `sport`
    classic_sport,
    /// The offset of `dport`
    classic_dport,
    /// The offset of `family`
    classic_family,
    /// The offset of `protocol`
    classic_protocol,
    /// 1 where `protocol` has one byte (before 5.6), else 0
    classic_protocol_is_byte,
    /// The offset of `saddr_v6`
    classic_saddr_v6,
    /// The offset of `daddr_v6`
    classic_daddr_v6,

    /// Nanoseconds of a tick of the kernel's clock (`TICK_NSEC`)
    tick_nanos,

    // What this kernel allows: 1 or 0
    /// `bpf_get_socket_cookie` may be called from tracing programs (5.12)
    has_cookie,
    /// `bpf_get_current_task_btf` exists (5.11)
    has_task,
    /// `tcp_send_reset` passes a reason as its third argument (6.10)
    has_reset_reason,
    /// `kfree_skb` passes the receiving socket as its fourth argument (6.11)
    has_receiving_socket,
    /// `tcp_retransmit_skb` passes an error as its third argument (6.16)
    has_retransmit_error,

    /// The number of ring buffers, a power of two, less one: a CPU's number masked with it is its
    /// ring's
    ring_mask,

    // Numbers of `enum skb_drop_reason`, which differ between kernels
    /// The number of `SKB_DROP_REASON_NOT_SPECIFIED`
    reason_not_specified,
    /// One bit for each of the first 32 reasons for which a packet is dropped on its way out
    output_reasons_0,
    /// As `output_reasons_0`, from 32 on
    output_reasons_32,
    /// As `output_reasons_0`, from 64 on
    output_reasons_64,
    /// As `output_reasons_0`, from 96 on
    output_reasons_96,

    // Filters: 0 lets everything pass
    /// 1: every transition is wanted, also those that are not part of a connection's life
    every_transition,
    /// 1: only local ports in `LOCAL_PORTS`
    filter_local_ports,
    /// 1: only peer ports in `PEER_PORTS`
    filter_peer_ports,
    /// Only this IP version (4 or 6)
    filter_ip,
    /// Only the network namespace with this inode number
    filter_netns,
}

// No padding, and a size that the verifier reads as whole words.
const _: () = assert!(size_of::<ProgramConfig>() == 4 * ProgramConfig::FIELDS);
