//! `tp_btf/inet_sock_set_state`: the transition with all its evidence.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::debug;
use tcpclose_common::{
    RingRecordKind, TcpFields, TcpState, TransitionRecord, flags, segment_flags,
};

use crate::kernel::{Sock, TcpSock, config};
use crate::signal::Skb;
use crate::{filter, ring, task};

/// `enum sock_flags` of include/net/sock.h: bit numbers in `skc_flags`.
const SOCK_DEAD: u64 = 1 << 0;
const SOCK_DONE: u64 = 1 << 1;
const SOCK_LINGER: u64 = 1 << 4;
/// Bits of `struct tcp_options_received`.
const SAW_TSTAMP: u8 = 1 << 0;
const TSTAMP_OK: u8 = 1 << 1;

const NANOS_PER_MS: u64 = 1_000_000;
const NANOS_PER_US: u64 = 1_000;
/// The longest time by which an ACK of data may follow it, and data the request for it, before the
/// time that the peer echoes is taken for another: TCP_DELACK_MAX (200 ms), and some ticks.
const MAX_ACK_DELAY_MS: u32 = 240;
/// The shortest silence that is not taken for the pause between two segments.
const MIN_SILENCE_MS: u32 = 500;

/// Records a transition. Runs before `sk_state` is written: the socket still shows what led here.
#[inline(always)]
pub fn on_set_state(ctx: &BtfTracePointContext) {
    let sk = Sock(ctx.arg::<*const c_void>(0));
    let old = ctx.arg::<i32>(1) as u8;
    let new = ctx.arg::<i32>(2) as u8;
    if !filter::is_connection_transition(old, new) {
        return;
    }
    let Some(tcp) = sk.tcp() else { return };

    let netns = sk.netns();
    let local_port = u16::from_be(tcp.field(config!(inet_sport)));
    let peer_port = u16::from_be(sk.field(config!(skc_dport)));
    let ip = sk.ip_version();
    if !filter::passes(old, new, netns, ip, local_port, peer_port) {
        debug!(
            ctx,
            "left out by the filters: state {} to {}, port {} to {}, netns {}",
            old,
            new,
            local_port,
            peer_port,
            netns
        );
        return;
    }
    let owned = sk.field::<u32>(config!(sk_lock_owned)) != 0;
    let error: u32 = sk.field(config!(sk_err));
    let has_task = filter::is_syscall_driven(old, new, owned && error == 0);
    let Some(record) = ring::reserve_transition(ip, has_task) else {
        return;
    };
    let (id, is_cookie) = sk.id();
    let sock_flags: u64 = sk.field(config!(skc_flags));
    // SAFETY: the helper has no preconditions.
    let at = unsafe { bpf_ktime_get_ns() };

    let bits = RecordFlags::begin(record, flags::EVIDENCE);
    if is_cookie {
        bits.add(flags::COOKIE);
    }
    if sock_flags & SOCK_DEAD != 0 {
        bits.add(flags::SOCK_DEAD);
    }
    let received: u32 = tcp.field(config!(rcv_nxt));
    let read: u32 = tcp.field(config!(copied_seq));
    let mut data_end = received;
    if sock_flags & SOCK_DONE != 0 {
        bits.add(flags::SOCK_DONE);
        let fin = received.wrapping_sub(1);
        data_end = fin;
        // Entering CLOSE_WAIT, the ACK of the FIN is still to come, so rcv_wup is that of the
        // segments before.
        let acked_before = new == TcpState::CloseWait && tcp.field::<u32>(config!(rcv_wup)) == fin;
        let newest = newest_segment(sk);
        if acked_before || read == fin || newest.field::<u32>(config!(skb_seq)) == fin {
            bits.add(flags::FIN_WITHOUT_DATA);
        }
        let takes_fin = new == TcpState::CloseWait
            || new == TcpState::Closing
            || old == TcpState::FinWait2 as u8 && new == TcpState::Close;
        if takes_fin && !is_fin_that_acks(newest, received, tcp.field(config!(snd_una))) {
            bits.add(flags::FIN_ACK_DIFFERS);
        }
    }
    if fin_is_out_of_order(tcp) {
        bits.add(flags::FIN_OUT_OF_ORDER);
    }
    if sk.field::<u32>(config!(sk_backlog_len)) != 0 {
        bits.add(flags::BACKLOG);
    }
    if (data_end.wrapping_sub(read) as i32) > 0 {
        bits.add(flags::UNREAD);
    }
    if sock_flags & SOCK_LINGER != 0 && sk.field::<u64>(config!(sk_lingertime)) == 0 {
        bits.add(flags::LINGER_ZERO);
    }
    if sk.field::<u64>(config!(sk_socket)) == 0 {
        bits.add(flags::NO_SOCKET);
    }
    if owned {
        bits.add(flags::LOCK_OWNED);
    }
    let repair: u8 = tcp.field(config!(repair_byte));
    if (repair >> (config!(repair_bit) & 7)) & 1 != 0 {
        bits.add(flags::REPAIR);
    }
    let rx_opt: u8 = tcp.field(config!(rx_opt_bits));
    if rx_opt & TSTAMP_OK != 0 {
        bits.add(flags::TIMESTAMPS);
    }
    if rx_opt & SAW_TSTAMP != 0 {
        bits.add(flags::SAW_TIMESTAMP);
        let takes_first_fin = new == TcpState::CloseWait;
        if takes_first_fin && rx_opt & TSTAMP_OK != 0 && echoes_last_data(tcp, at) {
            bits.add(flags::PEER_SAW_SILENCE);
        }
    }

    // SAFETY: the record was reserved in the ring, with the length that it needs; every field that
    // fits and has a meaning is written before it is submitted.
    unsafe {
        (*record).kind = RingRecordKind::Transition as u8;
        (*record).old = old;
        (*record).new = new;
        (*record).ip = ip;
        (*record).at = at;
        (*record).id = id;
        (*record).skaddr = sk.0 as u64;
        (*record).local_port = local_port;
        (*record).peer_port = peer_port;
        (*record).netns = netns;
        fill_addresses(record, sk, ip);
        if filter::is_connect(old, new) {
            bits.add(task::fill_calling_thread(record));
        } else {
            fill_fields(&raw mut (*record).tcp, tcp, error, old);
        }
        if let Some(ago) = fin_sent_us_ago(tcp, old, new, at) {
            bits.add(flags::FIN_SENT_TIME);
            (*record).tcp.sent_ms_ago = ago;
        }
        if has_task {
            bits.add(task::fill_task(record));
        } else if ip != 4 {
            task::clear_task(record);
        }
    }
    ring::submit(record);
}

/// The flags of a record, kept in the record itself. In a register each combination would be a
/// known number to the verifier, which then follows every path through the conditions by itself:
/// Linux 6.1 refuses the program as too large. What is read back from the ring is not known to it.
#[derive(Clone, Copy)]
struct RecordFlags(*mut u32);

impl RecordFlags {
    #[inline(always)]
    fn begin(record: *mut TransitionRecord, bits: u32) -> Self {
        // SAFETY: the record was reserved in the ring; every length includes its flags.
        let flags = unsafe { &raw mut (*record).flags };
        // SAFETY: as above.
        unsafe { flags.write_volatile(bits) };
        Self(flags)
    }

    #[inline(always)]
    fn add(self, bits: u32) {
        // SAFETY: as in `begin`.
        unsafe { self.0.write_volatile(self.0.read_volatile() | bits) };
    }
}

/// Returns the newest segment of the receive queue; without meaning when that is empty.
/// tcp_data_queue and tcp_ofo_queue put a FIN there before tcp_fin() changes the state. Merged with
/// data before it (tcp_try_coalesce) it leaves its flags, its end and its ACK there.
#[inline(always)]
fn newest_segment(sk: Sock) -> Skb {
    // sk_receive_queue.prev is a typed `struct sk_buff *`; of an empty queue it points into the
    // socket, where the verifier's guarded load reads some other number.
    Skb(sk.field(config!(sk_receive_queue_tail)))
}

/// Returns whether a segment is the FIN that has just been received, and acknowledges `acked`.
#[inline(always)]
fn is_fin_that_acks(segment: Skb, received: u32, acked: u32) -> bool {
    segment.tcp_flags() & segment_flags::FIN != 0
        && segment.field::<u32>(config!(skb_end_seq)) == received
        && segment.field::<u32>(config!(skb_ack_seq)) == acked
}

/// Returns whether the peer's FIN waits in the out-of-order queue. Nothing has a higher number.
#[inline(always)]
fn fin_is_out_of_order(tcp: TcpSock) -> bool {
    if tcp.field::<u64>(config!(out_of_order_root)) == 0 {
        return false;
    }
    let last = Skb(tcp.field(config!(out_of_order_last)));
    last.tcp_flags() & segment_flags::FIN != 0
}

/// # Safety
/// `record` must point to writable memory of the record's size.
#[inline(always)]
unsafe fn fill_addresses(record: *mut TransitionRecord, sk: Sock, ip: u8) {
    // SAFETY: the caller's promise; the addresses start at multiples of 4 and 8 in the record.
    unsafe {
        if ip == 4 {
            let local = (&raw mut (*record).local_v4).cast::<u32>();
            let peer = (&raw mut (*record).peer_v4).cast::<u32>();
            *local = sk.field(config!(skc_rcv_saddr));
            *peer = sk.field(config!(skc_daddr));
        } else {
            let local = (&raw mut (*record).local_v6).cast::<u64>();
            let peer = (&raw mut (*record).peer_v6).cast::<u64>();
            (*record).local_v4 = [0; 4];
            (*record).peer_v4 = [0; 4];
            *local = sk.field(config!(skc_v6_rcv_saddr));
            *local.add(1) = sk.field(config!(skc_v6_rcv_saddr) + 8);
            *peer = sk.field(config!(skc_v6_daddr));
            *peer.add(1) = sk.field(config!(skc_v6_daddr) + 8);
        }
    }
}

/// # Safety
/// `fields` must point to writable memory of their size.
#[inline(always)]
unsafe fn fill_fields(fields: *mut TcpFields, tcp: TcpSock, error: u32, old: u8) {
    // SAFETY: the caller's promise.
    unsafe {
        (*fields).snd_una = tcp.field(config!(snd_una));
        (*fields).snd_nxt = tcp.field(config!(snd_nxt));
        (*fields).write_seq = tcp.field(config!(write_seq));
        (*fields).rcv_nxt = tcp.field(config!(rcv_nxt));
        (*fields).snd_wnd = tcp.field(config!(snd_wnd));
        (*fields).snd_wl1 = tcp.field(config!(snd_wl1));
        (*fields).segs_in = tcp.field(config!(segs_in));
        (*fields).segs_out = tcp.field(config!(segs_out));
        (*fields).bytes_acked = tcp.field(config!(bytes_acked));
        (*fields).bytes_received = tcp.field(config!(bytes_received));
        (*fields).error = error as u16;
        (*fields).retransmits = tcp.field(config!(total_retrans));
        let out_of_order: u32 = tcp.field(config!(rcv_ooopack));
        (*fields).out_of_order = if out_of_order > 0xffff {
            0xffff
        } else {
            out_of_order as u16
        };
        // Both fields begin at ESTABLISHED (tcp_finish_connect, tcp_create_openreq_child).
        let established =
            old != TcpState::SynSent && old != TcpState::SynRecv && old != TcpState::Close;
        if established {
            // Both against one time, so that they can be compared.
            let now = jiffies();
            (*fields).sent_ms_ago = ms_ago(tcp, config!(lsndtime), now);
            (*fields).received_ms_ago = ms_ago(tcp, config!(lrcvtime), now);
        } else {
            (*fields).sent_ms_ago = 0;
            (*fields).received_ms_ago = 0;
        }
    }
}

/// Returns how many microseconds before `at` the segment with this host's FIN was last sent, plus
/// one, where its ACK is taken now. Nothing is sent after a FIN, so of all that the ACK covers that
/// segment is the one that was sent last (tcp_rate_skb_delivered), unless an earlier one was sent
/// again.
#[inline(always)]
fn fin_sent_us_ago(tcp: TcpSock, old: u8, new: u8, at: u64) -> Option<u32> {
    let takes_ack = old == TcpState::FinWait1 as u8 && new == TcpState::FinWait2 as u8
        || (old == TcpState::LastAck as u8 || old == TcpState::Closing as u8)
            && new == TcpState::Close as u8;
    if !takes_ack || config!(first_tx_mstamp) == 0 {
        return None;
    }
    if tcp.field::<u32>(config!(snd_una)) != tcp.field::<u32>(config!(write_seq)) {
        return None;
    }
    let sent: u64 = tcp.field(config!(first_tx_mstamp));
    let ago = (at / NANOS_PER_US).wrapping_sub(sent);
    if sent == 0 || ago >= u64::from(u32::MAX) {
        return None;
    }
    Some(ago as u32 + 1)
}

/// Returns the kernel's count of ticks, as TCP has it (`tcp_jiffies32`).
#[inline(always)]
fn jiffies() -> u32 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_jiffies64() as u32 }
}

/// Returns how many milliseconds before `now` the time in a field was, plus one; 0 where that is
/// not known. Both are counts of ticks.
#[inline(always)]
fn ms_ago(tcp: TcpSock, offset: u32, now: u32) -> u32 {
    if offset == 0 {
        return 0;
    }
    let ticks = now.wrapping_sub(tcp.field(offset));
    let ms = u64::from(ticks) * u64::from(config!(tick_nanos)) / NANOS_PER_MS + 1;
    // A time that seems to be in the future is one of long ago.
    if ticks > i32::MAX as u32 || ms > u64::from(u32::MAX) {
        return 0;
    }
    ms as u32
}

/// Returns whether the segment that is taken now echoes the time of the peer's last data, some time
/// ago: all that the peer had received since then acknowledged that data. `rcv_tsecr` holds the
/// echo less the socket's own offset (tcp_fast_parse_options), so it is in milliseconds of
/// `CLOCK_MONOTONIC`. Where the unit is microseconds (`tcp_usec_ts`), it matches by chance only:
/// once in ten million times.
#[inline(always)]
fn echoes_last_data(tcp: TcpSock, at: u64) -> bool {
    if config!(rcv_tsecr) == 0 {
        return false;
    }
    let silent = ms_ago(tcp, config!(lrcvtime), jiffies());
    let echoed: u32 = tcp.field(config!(rcv_tsecr));
    let since = ((at / NANOS_PER_MS) as u32).wrapping_sub(echoed);
    let distance = since.wrapping_sub(silent).wrapping_add(MAX_ACK_DELAY_MS);
    silent > MIN_SILENCE_MS && distance <= 2 * MAX_ACK_DELAY_MS
}
