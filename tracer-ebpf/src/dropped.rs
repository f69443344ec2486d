//! Segments of this host that it drops itself before they leave: in netfilter, in a queue, for want
//! of a route or of the neighbour's address.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::programs::BtfTracePointContext;
use tcpclose_common::{RingRecordKind, TcpState, flags, segment_flags};

use crate::filter;
use crate::kernel::{Sock, config};
use crate::signal::{Segment, Skb, write_signal};

const IPPROTO_TCP: u16 = 6;
/// `SOCK_STREAM` of linux/net.h.
const SOCK_STREAM: u16 = 1;
/// No packet without data is longer: the headers of Ethernet, IP (with extensions) and TCP.
const MAX_HEADERS: u32 = 256;
/// The highest `transport_header` says that there is none (skb_transport_header_was_set).
const NO_TRANSPORT_HEADER: u16 = u16::MAX;

/// The header of a segment as it is on the wire (`struct tcphdr`), without options.
#[derive(Clone, Copy)]
#[repr(C)]
struct TcpHeader {
    source: u16,
    dest: u16,
    seq: u32,
    ack_seq: u32,
    /// The length of the header in words of 4 bytes, in the upper half.
    data_offset: u8,
    flags: u8,
    window: u16,
}

/// `kfree_skb(skb, location, reason, …)`, with `reason` since 5.17. A segment on its way out
/// belongs to the socket that has sent it (`skb->sk`, __tcp_transmit_skb), and since 6.13 also
/// where that is closed or a minisocket (ip_send_unicast_reply, tcp_v6_send_response).
///
/// This runs for each packet that the host drops with a reason, so the cheapest checks come first.
#[inline(always)]
pub fn on_kfree_skb(ctx: &BtfTracePointContext) {
    let reason = ctx.arg::<u32>(2);
    if !is_output_reason(reason) {
        return;
    }
    let skb = Skb(ctx.arg::<*const c_void>(0));
    let sk: *const c_void = skb.field(config!(skb_sk));
    // A segment that comes in has the socket of its receiver already (tcp_v4_early_demux).
    if sk.is_null() || skb.field::<u32>(config!(skb_iif)) != 0 {
        return;
    }
    let sk = Sock(sk);
    let state: u8 = sk.field(config!(skc_state));
    let is_open =
        state == TcpState::Established || state == TcpState::SynSent || state == TcpState::SynRecv;
    // A connection that is at work may lose much data; only its end is of interest.
    if is_open && skb.field::<u32>(config!(skb_len)) > MAX_HEADERS {
        return;
    }
    if state == TcpState::Listen || state == TcpState::NewSynRecv {
        return;
    }
    // A minisocket has the fields of `struct sock_common` only.
    if state != TcpState::TimeWait
        && (sk.field::<u16>(config!(sk_protocol)) != IPPROTO_TCP
            || sk.field::<u16>(config!(sk_type)) != SOCK_STREAM)
    {
        return;
    }
    // Zero: nobody has requested its cookie, so user space does not follow it.
    let cookie: u64 = sk.field(config!(skc_cookie));
    if cookie == 0 {
        return;
    }
    let Some((segment, local_port)) = header(skb) else {
        return;
    };
    if is_open && segment.flags & (segment_flags::FIN | segment_flags::RST) == 0 {
        return;
    }
    if !filter::passes_signal(sk, local_port) {
        return;
    }
    write_signal(
        RingRecordKind::SegmentDropped,
        state,
        cookie,
        flags::COOKIE,
        reason,
        segment,
    );
}

/// Returns whether a packet that is dropped for this reason may be on its way out.
#[inline(always)]
fn is_output_reason(reason: u32) -> bool {
    let bits = match reason >> 5 {
        0 => config!(output_reasons_0),
        1 => config!(output_reasons_32),
        2 => config!(output_reasons_64),
        3 => config!(output_reasons_96),
        _ => 0,
    };
    (bits >> (reason & 31)) & 1 != 0
}

/// Reads the segment's header, and returns it with this host's port. The control block is no longer
/// TCP's when IP has the segment (__tcp_transmit_skb).
#[inline(always)]
fn header(skb: Skb) -> Option<(Segment, u16)> {
    let head: u64 = skb.field(config!(skb_head));
    let data: u64 = skb.field(config!(skb_data));
    let offset: u16 = skb.field(config!(skb_transport_header));
    if offset == NO_TRANSPORT_HEADER {
        return None;
    }
    let at = head.wrapping_add(u64::from(offset));
    // SAFETY: the helper reads any address, and fails where there is nothing.
    let header = unsafe { bpf_probe_read_kernel(at as *const TcpHeader) }.ok()?;
    // IP's header, and in a queue Ethernet's, lie between `data` and TCP's.
    let before = at.wrapping_sub(data) as u32;
    let own = u32::from(header.data_offset >> 4) * 4;
    let bytes = skb
        .field::<u32>(config!(skb_len))
        .wrapping_sub(before)
        .wrapping_sub(own);
    let seq = u32::from_be(header.seq);
    let fin = u32::from(header.flags & segment_flags::FIN != 0);
    let segment = Segment {
        flags: header.flags,
        seq,
        end_seq: seq.wrapping_add(bytes).wrapping_add(fin),
        ack_seq: u32::from_be(header.ack_seq),
    };
    Some((segment, u16::from_be(header.source)))
}
