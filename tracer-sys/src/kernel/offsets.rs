//! Makes the eBPF programs' [`ProgramConfig`]: where this kernel keeps the fields that they read,
//! and what it allows.

use tcpclose_common::{ProgramConfig, task_file_context};

use super::btf::{Btf, BtfError};
use super::clock;
use super::tracefs::{NoField, TracepointFormat};

/// A number for which the kernel never drops a packet.
const NO_SUCH_REASON: u32 = u32::MAX;

/// The reasons for which the kernel drops a packet between IP and the network device
/// (`enum skb_drop_reason`, without the prefix), before a capture on the device would have it.
const OUTPUT_REASONS: [&str; 19] = [
    NETFILTER_DROP,
    "BPF_CGROUP_EGRESS",
    "IP_OUTNOROUTES",
    "NEIGH_CREATEFAIL",
    "NEIGH_FAILED",
    "NEIGH_QUEUEFULL",
    "NEIGH_DEAD",
    "NEIGH_HH_FILLFAIL",
    "TC_EGRESS",
    "TC_COOKIE_ERROR",
    "TC_CHAIN_NOTFOUND",
    "TC_RECLASSIFY_LOOP",
    "QDISC_DROP",
    "QDISC_OVERLIMIT",
    "QDISC_CONGESTED",
    "CAKE_FLOOD",
    "FQ_BAND_LIMIT",
    "FQ_HORIZON_LIMIT",
    "FQ_FLOW_LIMIT",
];

/// Netfilter's reason: where the kernel has it, it gives reasons for what it drops on the way out,
/// too (5.18).
const NETFILTER_DROP: &str = "NETFILTER_DROP";
const DROP_REASON_PREFIX: &str = "SKB_DROP_REASON_";

/// Fills the offsets and abilities for the `tp_btf` programs.
///
/// # Errors
/// When the kernel's structures lack a member that the programs need.
pub fn from_btf(btf: &Btf<'_>) -> Result<ProgramConfig, BtfError> {
    let (sock, tcp_sock) = (btf.structure("sock")?, btf.structure("tcp_sock")?);
    let (task, in_segment) = (btf.structure("task_struct")?, btf.structure("tcp_skb_cb")?);
    let control_block = btf.offset("sk_buff", "cb")?;
    let sock = |member: &str| sock.offset(member);
    let tcp = |member: &str| tcp_sock.offset(member);
    let segment = |member: &str| Ok(control_block + in_segment.offset(member)?);
    let (repair_byte, repair_bit) = tcp_sock.bit_offset("repair")?;
    let drop_reasons = drop_reasons(btf);
    let [
        output_reasons_0,
        output_reasons_32,
        output_reasons_64,
        output_reasons_96,
    ] = output_reasons(&drop_reasons);
    Ok(ProgramConfig {
        skc_flags: sock("__sk_common.skc_flags")?,
        skc_state: sock("__sk_common.skc_state")?,
        skc_family: sock("__sk_common.skc_family")?,
        skc_net: sock("__sk_common.skc_net.net")?,
        skc_rcv_saddr: sock("__sk_common.skc_rcv_saddr")?,
        skc_daddr: sock("__sk_common.skc_daddr")?,
        skc_v6_rcv_saddr: sock("__sk_common.skc_v6_rcv_saddr")?,
        skc_v6_daddr: sock("__sk_common.skc_v6_daddr")?,
        skc_dport: sock("__sk_common.skc_dport")?,
        skc_num: sock("__sk_common.skc_num")?,
        skc_cookie: sock("__sk_common.skc_cookie")?,
        skc_node_pprev: sock("__sk_common.skc_node.pprev")?,
        tw_substate: btf.offset("inet_timewait_sock", "tw_substate")?,
        sk_err: sock("sk_err")?,
        sk_socket: sock("sk_socket")?,
        sk_lock_owned: sock("sk_lock.owned")?,
        sk_lingertime: sock("sk_lingertime")?,
        sk_receive_queue_tail: sock("sk_receive_queue.prev")?,
        sk_backlog_len: sock("sk_backlog.len")?,
        net_inum: btf.offset("net", "ns.inum")?,
        sk_protocol: sock("sk_protocol").unwrap_or(0),
        sk_type: sock("sk_type").unwrap_or(0),
        inet_sport: tcp("inet_conn.icsk_inet.inet_sport")?,
        snd_una: tcp("snd_una")?,
        snd_nxt: tcp("snd_nxt")?,
        write_seq: tcp("write_seq")?,
        rcv_nxt: tcp("rcv_nxt")?,
        rcv_wup: tcp("rcv_wup")?,
        snd_wnd: tcp("snd_wnd")?,
        snd_wl1: tcp("snd_wl1")?,
        copied_seq: tcp("copied_seq")?,
        segs_in: tcp("segs_in")?,
        segs_out: tcp("segs_out")?,
        bytes_acked: tcp("bytes_acked")?,
        bytes_received: tcp("bytes_received")?,
        total_retrans: tcp("total_retrans")?,
        rcv_ooopack: tcp("rcv_ooopack")?,
        lsndtime: tcp("lsndtime").unwrap_or(0),
        lrcvtime: tcp("inet_conn.icsk_ack.lrcvtime").unwrap_or(0),
        first_tx_mstamp: tcp("first_tx_mstamp").unwrap_or(0),
        rcv_tsecr: tcp("rx_opt.rcv_tsecr").unwrap_or(0),
        tick_nanos: clock::tick().0 as u32,
        out_of_order_root: tcp("out_of_order_queue.rb_node")?,
        out_of_order_last: tcp("ooo_last_skb")?,
        repair_byte,
        repair_bit,
        rx_opt_bits: tcp("rx_opt.saw_tstamp")?,
        skb_tcp_flags: segment("tcp_flags")?,
        skb_seq: segment("seq")?,
        skb_end_seq: segment("end_seq")?,
        skb_ack_seq: segment("ack_seq")?,
        skb_sk: btf.offset("sk_buff", "sk")?,
        skb_iif: btf.offset("sk_buff", "skb_iif")?,
        skb_head: btf.offset("sk_buff", "head")?,
        skb_data: btf.offset("sk_buff", "data")?,
        skb_len: btf.offset("sk_buff", "len")?,
        skb_transport_header: btf.offset("sk_buff", "transport_header")?,
        task_flags: task.offset("flags")?,
        task_group_leader: task.offset("group_leader")?,
        task_comm: task.offset("comm")?,
        task_signal: task.offset("signal")?,
        signal_live: btf.offset("signal_struct", "live")?,
        has_cookie: btf.has_function("bpf_get_socket_ptr_cookie").into(),
        has_task: btf.has_function("bpf_get_current_task_btf").into(),
        has_reset_reason: (btf.tracepoint_arguments("tcp_send_reset") >= Some(3)).into(),
        has_retransmit_error: (btf.tracepoint_arguments("tcp_retransmit_skb") >= Some(3)).into(),
        has_receiving_socket: (btf.tracepoint_arguments("kfree_skb") >= Some(4)).into(),
        reason_not_specified: reason_not_specified(&drop_reasons),
        output_reasons_0,
        output_reasons_32,
        output_reasons_64,
        output_reasons_96,
        ..ProgramConfig::ZERO
    })
}

/// Returns the number of `NOT_SPECIFIED`; [`NO_SUCH_REASON`] where the kernel gives no reasons.
fn reason_not_specified(reasons: &[&str]) -> u32 {
    let number = reasons.iter().position(|name| *name == "NOT_SPECIFIED");
    number.map_or(NO_SUCH_REASON, |number| number as u32)
}

/// Returns one bit for each reason of [`OUTPUT_REASONS`]; none where the kernel does not report
/// netfilter's drops.
fn output_reasons(reasons: &[&str]) -> [u32; 4] {
    let mut bits = [0; 4];
    if !has_output_reasons(reasons) {
        return bits;
    }
    for (number, name) in reasons.iter().enumerate() {
        if OUTPUT_REASONS.contains(name)
            && let Some(word) = bits.get_mut(number / 32)
        {
            *word |= 1 << (number % 32);
        }
    }
    bits
}

/// Returns whether a kernel with these [`drop_reasons`] gives reasons for what it drops on the way
/// out.
#[must_use]
pub fn has_output_reasons(drop_reasons: &[&str]) -> bool {
    drop_reasons.contains(&NETFILTER_DROP)
}

/// Returns the names of `enum skb_drop_reason` without their prefix, by number; none before 5.17.
#[must_use]
pub fn drop_reasons(btf: &Btf<'_>) -> Vec<&'static str> {
    names_by_number(btf, "skb_drop_reason", DROP_REASON_PREFIX)
}

/// Fills the offsets for the iterator over open files alone: finding each structure takes a pass
/// over the kernel's BTF.
///
/// # Errors
/// As [`from_btf`]; also where the iterator's context is not laid out as its program is compiled
/// for.
pub fn for_task_file_iter(btf: &Btf<'_>) -> Result<ProgramConfig, BtfError> {
    let context = btf.structure("bpf_iter__task_file")?;
    for (member, expected) in task_file_context::MEMBERS {
        context.check_offset(member, expected)?;
    }
    let meta = btf.structure("bpf_iter_meta")?;
    meta.check_offset("seq", task_file_context::META_SEQ)?;
    let task = btf.structure("task_struct")?;
    Ok(ProgramConfig {
        skc_state: btf.offset("sock", "__sk_common.skc_state")?,
        task_pid: task.offset("pid")?,
        task_tgid: task.offset("tgid")?,
        task_group_leader: task.offset("group_leader")?,
        task_files: task.offset("files")?,
        file_inode: btf.offset("file", "f_inode")?,
        inode_number: btf.offset("inode", "i_ino")?,
        socket_sk: btf.offset("socket", "sk")?,
        ..ProgramConfig::ZERO
    })
}

/// Returns the names of `enum sk_rst_reason` without their prefix, by number; none before 6.10.
///
/// They are leaked: a program loads once, and the few names live as long as the records that carry
/// them.
#[must_use]
pub fn reset_reasons(btf: &Btf<'_>) -> Vec<&'static str> {
    names_by_number(btf, "sk_rst_reason", "SK_RST_REASON_")
}

fn names_by_number(btf: &Btf<'_>, of_enum: &str, prefix: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for (number, name) in btf.enum_names(of_enum) {
        let number = number as usize;
        // The numbers are small and dense; anything else is no reason to allocate without bound.
        if number < 256 {
            names.resize(names.len().max(number + 1), "");
            names[number] = &*name.trim_start_matches(prefix).to_owned().leak();
        }
    }
    names
}

/// Fills the offsets of the classic tracepoint from its `format` file.
///
/// # Errors
/// [`NoField`] with the name of the field that the format lacks.
pub fn from_format(format: &TracepointFormat) -> Result<ProgramConfig, NoField> {
    let at = |name: &str| format.field(name).map(|field| field.offset);
    Ok(ProgramConfig {
        classic_size: format.size(),
        classic_skaddr: at("skaddr")?,
        classic_oldstate: at("oldstate")?,
        classic_newstate: at("newstate")?,
        classic_sport: at("sport")?,
        classic_dport: at("dport")?,
        classic_family: at("family")?,
        classic_protocol: at("protocol")?,
        classic_protocol_is_byte: (format.field("protocol")?.size == 1).into(),
        classic_saddr_v6: at("saddr_v6")?,
        classic_daddr_v6: at("daddr_v6")?,
        ..ProgramConfig::ZERO
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::VMLINUX;

    #[test]
    fn this_kernel_has_all_that_the_programs_read() {
        let Ok(raw) = std::fs::read(VMLINUX) else {
            println!("skipped: this kernel has no BTF");
            return;
        };
        let btf = Btf::parse(&raw).expect("the kernel's BTF is whole");
        let config = from_btf(&btf).expect("the transition programs find their fields");
        assert!(config.skc_state > 0 && config.snd_una > config.skc_state);
        let config = for_task_file_iter(&btf).expect("the iterator finds its fields");
        assert!(config.socket_sk > 0 && config.task_tgid > config.task_pid);
    }
}
