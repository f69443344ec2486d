//! One socket as the kernel describes it (`struct inet_diag_msg` and its attributes).

use std::net::Ipv6Addr;

use tcpclose_common::TcpState;

use super::message::{attributes, read_array, read_u16, read_u32, read_u64};
use super::mptcp::{self, MptcpInfo, SocketProtocol};
use super::wire::{INET_DIAG_CGROUP_ID, INET_DIAG_INFO, INET_DIAG_ULP_INFO};
use tcpclose_core::types::{
    CgroupId, EndpointId, Inode, InterfaceIndex, IpVersion, NetNs, Opening, Tuple,
};

/// Length of `struct inet_diag_msg`; attributes follow.
const MESSAGE_LEN: usize = 72;

/// A TCP socket or TIME_WAIT minisocket at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelSocket {
    /// The socket's cookie, the number that `getsockopt(SO_COOKIE)` gives. A minisocket has its
    /// socket's.
    pub id: EndpointId,
    /// The state; for a minisocket the one that it represents: [`TcpState::TimeWait`] or
    /// [`TcpState::FinWait2`]. A handshake that is not complete is reported as
    /// [`TcpState::SynRecv`].
    pub state: TcpState,
    /// The addresses and ports of both endpoints; v4-mapped ones as IPv4.
    pub tuple: Tuple,
    /// The network namespace it lives in; `None` where its number could not be read.
    pub netns: Option<NetNs>,
    /// The interface it is bound to, if to one.
    pub interface: Option<InterfaceIndex>,
    /// Inode in sockfs; `None` without a file: orphans, minisockets, connections that were not yet
    /// accepted.
    pub inode: Option<Inode>,
    /// Owner of that inode, in the caller's user namespace; 0 without one.
    pub uid: u32,
    /// LISTEN: connections that wait to be accepted. Else bytes received and not read, plus one for
    /// a FIN that was not consumed (`rcv_nxt - copied_seq`). 0 for a minisocket.
    ///
    /// 0 in CLOSE_WAIT means that everything was read, not always that a read() returned 0: a FIN
    /// that came while bytes were unread is merged into their buffer (`tcp_try_coalesce`) and
    /// consumed together with the last of them (`found_fin_ok` in `tcp_recvmsg_locked`). 1 is
    /// always a FIN alone.
    pub rqueue: u32,
    /// LISTEN: the limit of `rqueue`. Else bytes written and not acknowledged, a FIN counting one
    /// (`write_seq - snd_una`). 0 for a minisocket.
    pub wqueue: u32,
    /// The socket's timer.
    pub timer: SocketTimer,
    /// Milliseconds until that timer fires, in the kernel's ticks (4 ms with `CONFIG_HZ=250`); 0
    /// without a timer or when it is due.
    pub expires_ms: u32,
    /// Retransmissions or probes without an answer so far; for a keepalive timer the probes sent.
    pub retransmits: u8,
    /// Id of the cgroup (v2) that the socket was created in; a connection has its listener's.
    /// `None` where the kernel does not report it: before 5.9, and for minisockets.
    pub cgroup: Option<CgroupId>,
    /// Counters and ages; only where requested, and never of minisockets, listeners or incomplete
    /// handshakes.
    pub info: Option<TcpInfo>,
    /// Of which protocol it is.
    pub protocol: SocketProtocol,
    /// Whether it carries an MPTCP connection; false where the kernel does not show that.
    pub is_subflow: bool,
    /// Counters and ages of an MPTCP socket; only where requested.
    pub mptcp: Option<MptcpInfo>,
}

impl KernelSocket {
    /// Returns whether it is a TIME_WAIT minisocket (`struct inet_timewait_sock`), in any state
    /// that it represents. Its timer shows that: no full socket has kind 3 (`inet_twsk_diag_fill`
    /// in `net/ipv4/inet_diag.c`). A missing inode does not: a full socket in FIN_WAIT2 has none
    /// once its owner closed it (it stays full while `TCP_LINGER2` asks for more than a minute).
    #[must_use]
    pub fn is_minisocket(&self) -> bool {
        self.timer == SocketTimer::TimeWait
    }

    /// Returns how many milliseconds a minisocket has left. Of one in TIME_WAIT,
    /// `now + remaining - 60 s` is the moment when the kernel last armed its timer: the start of
    /// TIME_WAIT, or the last FIN that the peer sent again. Of one in FIN_WAIT2 the length depends
    /// on `tcp_fin_timeout`, `TCP_LINGER2` and the retransmission timeout (at least 3.5 of it), so
    /// its start cannot be derived.
    #[must_use]
    pub fn remaining_ms(&self) -> Option<u32> {
        self.is_minisocket().then_some(self.expires_ms)
    }

    /// Returns how the socket came to its connection, where its counters prove that.
    ///
    /// `bytes_acked` counts how far `snd_una` has come: by the SYN of an active open, too
    /// (`tcp_rcv_synsent_state_process` calls `tcp_ack`), also where the SYNs crossed. A socket
    /// that was accepted begins behind its SYN (`tcp_create_openreq_child`), with SYN cookies and
    /// Fast Open alike, and one that is restored with `TCP_REPAIR` has none. While nothing is on
    /// its way, all other acknowledged bytes are the data that was sent, and the FIN. What a
    /// restored socket had in its queue was never sent by it: the difference is then the length
    /// of that, which proves nothing.
    #[must_use]
    pub fn opening(&self) -> Option<Opening> {
        let info = self.info.filter(|info| info.unacked == 0)?;
        let fin = match self.state {
            TcpState::Established | TcpState::CloseWait => 0,
            TcpState::FinWait2 => 1,
            _ => return None,
        };
        let sent = info.bytes_sent?.checked_sub(info.bytes_retrans?)?;
        match info.bytes_acked.checked_sub(sent)?.checked_sub(fin)? {
            0 => Some(Opening::Passive),
            1 => Some(Opening::Active),
            _ => None,
        }
    }

    /// Parses a `struct inet_diag_msg` with its attributes. `None`: it is too short, or has a
    /// family or state that TCP does not have.
    pub(crate) fn parse(bytes: &[u8], netns: Option<NetNs>) -> Option<Self> {
        Self::parse_as(SocketProtocol::Tcp, bytes, netns)
    }

    /// Parses the description of a socket of this protocol. An MPTCP socket's `rqueue` is the
    /// memory that what it has received takes, and its `wqueue` that of what it sends.
    pub(super) fn parse_as(
        protocol: SocketProtocol,
        bytes: &[u8],
        netns: Option<NetNs>,
    ) -> Option<Self> {
        let fixed: &[u8; MESSAGE_LEN] = bytes.first_chunk()?;
        let [family, state, timer, retransmits] = read_array(fixed, 0)?;
        let state = TcpState::from_repr(state)?;
        let local = (read_array(fixed, 8)?, u16::from_be(read_u16(fixed, 4)?));
        let peer = (read_array(fixed, 24)?, u16::from_be(read_u16(fixed, 6)?));
        let cookie = u64::from(read_u32(fixed, 44)?) | (u64::from(read_u32(fixed, 48)?) << 32);
        let timer = SocketTimer::from_raw(timer);

        let (mut cgroup, mut info, mut mptcp_info, mut is_subflow) = (None, None, None, false);
        for (kind, value) in attributes(&bytes[MESSAGE_LEN..]) {
            match kind {
                INET_DIAG_INFO => match protocol {
                    SocketProtocol::Tcp => info = TcpInfo::parse(value),
                    SocketProtocol::Mptcp => mptcp_info = MptcpInfo::parse(value),
                },
                INET_DIAG_ULP_INFO => is_subflow = mptcp::is_subflow(value),
                INET_DIAG_CGROUP_ID => cgroup = read_u64(value, 0).and_then(CgroupId::new),
                _ => {}
            }
        }
        Some(Self {
            id: EndpointId(cookie),
            state,
            tuple: tuple(family, local, peer)?,
            netns,
            interface: InterfaceIndex::new(read_u32(fixed, 40)?),
            inode: Inode::new(read_u32(fixed, 68)?),
            uid: read_u32(fixed, 64)?,
            rqueue: read_u32(fixed, 56)?,
            wqueue: read_u32(fixed, 60)?,
            timer,
            expires_ms: read_u32(fixed, 52)?,
            retransmits,
            cgroup,
            info: info.filter(|_| state != TcpState::Listen),
            protocol,
            is_subflow,
            mptcp: mptcp_info,
        })
    }
}

fn tuple(family: u8, local: ([u8; 16], u16), peer: ([u8; 16], u16)) -> Option<Tuple> {
    let v4 = |[a, b, c, d]: [u8; 4]| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&[a, b, c, d]);
        bytes
    };
    let mapped = |bytes: [u8; 16]| Ipv6Addr::from(bytes).to_ipv4_mapped();
    match libc::c_int::from(family) {
        // Only the first of the four words is the address.
        libc::AF_INET => {
            let first = |bytes: [u8; 16]| v4([bytes[0], bytes[1], bytes[2], bytes[3]]);
            let (local, peer) = ((first(local.0), local.1), (first(peer.0), peer.1));
            Some(Tuple::new(IpVersion::V4, local, peer))
        }
        libc::AF_INET6 => Some(match (mapped(local.0), mapped(peer.0)) {
            (Some(from), Some(to)) => Tuple::new(
                IpVersion::V4,
                (v4(from.octets()), local.1),
                (v4(to.octets()), peer.1),
            ),
            _ => Tuple::new(IpVersion::V6, local, peer),
        }),
        _ => None,
    }
}

/// The timer that runs for a socket (`idiag_timer`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketTimer {
    /// No timer runs.
    None,
    /// Retransmission of unacknowledged data or of a FIN.
    Retransmit,
    /// Keepalive; also the FIN_WAIT2 timer of an orphan that is still a full socket.
    Keepalive,
    /// The timer that ends a minisocket.
    TimeWait,
    /// Probing a closed receive window.
    WindowProbe,
    /// A timer that is unknown here.
    Other(u8),
}

impl SocketTimer {
    fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Retransmit,
            2 => Self::Keepalive,
            3 => Self::TimeWait,
            4 => Self::WindowProbe,
            other => Self::Other(other),
        }
    }
}

/// The part of `struct tcp_info` (`linux/tcp.h`) that describes how a connection is doing.
///
/// Ages are those at the moment of the request, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// Milliseconds since data was last sent; since boot, roughly, when none ever was.
    pub last_data_sent_ms: u32,
    /// Milliseconds since data last came; a bare FIN or ACK is no data. Since boot, roughly, when
    /// none ever came.
    pub last_data_recv_ms: u32,
    /// Milliseconds since a segment with an acceptable ACK last came; a FIN is one.
    pub last_ack_recv_ms: u32,
    /// Retransmissions of the oldest segment that is not acknowledged.
    pub retransmits: u8,
    /// Window or keepalive probes without an answer.
    pub probes: u8,
    /// The retransmission timeout in microseconds; it doubles with each retransmission.
    pub rto_us: u32,
    /// Segments sent and not acknowledged.
    pub unacked: u32,
    /// Segments sent again, ever.
    pub total_retrans: u32,
    /// How far `snd_una` is from its start: bytes acknowledged by the peer, plus one for the SYN of
    /// an active open and one for our FIN once acknowledged.
    pub bytes_acked: u64,
    /// Bytes received in order, plus one for the peer's FIN.
    pub bytes_received: u64,
    /// Segments sent, retransmissions included.
    pub segs_out: u32,
    /// Segments that were received in the life of the connection.
    pub segs_in: u32,
    /// Segments with data that were sent.
    pub data_segs_out: u32,
    /// Segments with data that were received.
    pub data_segs_in: u32,
    /// Bytes written and never sent yet.
    pub notsent_bytes: u32,
    /// Bytes sent, retransmissions included. `None` before 4.19.
    pub bytes_sent: Option<u64>,
    /// Of those, bytes sent again. `None` before 4.19.
    pub bytes_retrans: Option<u64>,
    /// Whether its segments have timestamps (RFC 7323).
    pub timestamps: bool,
}

/// In `tcpi_options` of `linux/tcp.h`.
const TCPI_OPT_TIMESTAMPS: u8 = 1;

impl TcpInfo {
    /// Parses a `struct tcp_info`, which only ever grows at its end: a longer one is read as far as
    /// it is known (5.10 gives 232 bytes). `None`: it lacks even the fields of 4.6.
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            retransmits: *bytes.get(2)?,
            probes: *bytes.get(3)?,
            rto_us: read_u32(bytes, 8)?,
            unacked: read_u32(bytes, 24)?,
            last_data_sent_ms: read_u32(bytes, 44)?,
            last_data_recv_ms: read_u32(bytes, 52)?,
            last_ack_recv_ms: read_u32(bytes, 56)?,
            total_retrans: read_u32(bytes, 100)?,
            bytes_acked: read_u64(bytes, 120)?,
            bytes_received: read_u64(bytes, 128)?,
            segs_out: read_u32(bytes, 136)?,
            segs_in: read_u32(bytes, 140)?,
            notsent_bytes: read_u32(bytes, 144)?,
            data_segs_in: read_u32(bytes, 152)?,
            data_segs_out: read_u32(bytes, 156)?,
            bytes_sent: read_u64(bytes, 200),
            bytes_retrans: read_u64(bytes, 208),
            timestamps: bytes.get(5)? & TCPI_OPT_TIMESTAMPS != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(family: libc::c_int, state: u8, timer: u8) -> Vec<u8> {
        let mut bytes = vec![0; MESSAGE_LEN];
        bytes[..4].copy_from_slice(&[family as u8, state, timer, 2]);
        bytes[4..6].copy_from_slice(&80_u16.to_be_bytes());
        bytes[6..8].copy_from_slice(&4242_u16.to_be_bytes());
        bytes[44..48].copy_from_slice(&7_u32.to_ne_bytes());
        bytes[48..52].copy_from_slice(&1_u32.to_ne_bytes());
        bytes[52..56].copy_from_slice(&59_996_u32.to_ne_bytes());
        bytes[68..72].copy_from_slice(&99_u32.to_ne_bytes());
        bytes
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = (4 + value.len() as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes
    }

    #[test]
    fn a_v4_mapped_connection_is_ipv4() {
        let mut bytes = described(libc::AF_INET6, 1, 0);
        for at in [8, 24] {
            let address = "::ffff:127.0.0.1".parse::<Ipv6Addr>().expect("an address");
            bytes[at..at + 16].copy_from_slice(&address.octets());
        }
        let socket = KernelSocket::parse(&bytes, NetNs::new(3)).expect("a socket");
        assert_eq!(socket.tuple.ip(), IpVersion::V4);
        assert_eq!(socket.tuple.local().to_string(), "127.0.0.1:80");
        assert_eq!(socket.tuple.peer().to_string(), "127.0.0.1:4242");
        assert_eq!(socket.id, EndpointId(0x1_0000_0007));
        assert_eq!(
            (socket.netns, socket.inode),
            (NetNs::new(3), Inode::new(99))
        );
    }

    #[test]
    fn a_listener_on_all_ipv6_addresses_stays_ipv6() {
        let socket = KernelSocket::parse(&described(libc::AF_INET6, 10, 0), None);
        assert_eq!(socket.map(|socket| socket.tuple.ip()), Some(IpVersion::V6));
    }

    #[test]
    fn the_timer_identifies_a_fin_wait2_minisocket() {
        let mini = KernelSocket::parse(&described(libc::AF_INET, 5, 3), None).expect("a socket");
        assert_eq!(
            (mini.state, mini.remaining_ms()),
            (TcpState::FinWait2, Some(59_996))
        );
        let full = KernelSocket::parse(&described(libc::AF_INET, 5, 2), None).expect("a socket");
        assert_eq!((full.is_minisocket(), full.remaining_ms()), (false, None));
    }

    #[test]
    fn tcp_info_may_be_shorter_or_longer_than_known() {
        let mut info = [0_u8; 400];
        info[140..144].copy_from_slice(&5_u32.to_ne_bytes());
        info[200..208].copy_from_slice(&9_u64.to_ne_bytes());
        let parse = |length: usize| {
            let mut bytes = described(libc::AF_INET, 8, 0);
            bytes.extend(attribute(INET_DIAG_INFO, &info[..length]));
            bytes.extend(attribute(INET_DIAG_CGROUP_ID, &11_u64.to_ne_bytes()));
            let socket = KernelSocket::parse(&bytes, None).expect("a socket");
            assert_eq!(socket.cgroup, CgroupId::new(11));
            socket.info
        };
        assert_eq!(parse(100), None);
        assert_eq!(
            parse(160).map(|info| (info.segs_in, info.bytes_sent)),
            Some((5, None))
        );
        assert_eq!(parse(232).and_then(|info| info.bytes_sent), Some(9));
        assert_eq!(parse(400), parse(232));
    }

    #[test]
    fn a_truncated_description_never_panics() {
        let mut bytes = described(libc::AF_INET, 8, 0);
        bytes.extend(attribute(INET_DIAG_INFO, &[1; 232]));
        for end in 0..bytes.len() {
            let socket = KernelSocket::parse(&bytes[..end], None);
            assert_eq!(socket.is_some(), end >= MESSAGE_LEN);
            assert!(socket.and_then(|socket| socket.info).is_none());
        }
    }

    #[test]
    fn unknown_states_and_families_are_refused() {
        for state in [0, 13, 255] {
            assert_eq!(
                KernelSocket::parse(&described(libc::AF_INET, state, 0), None),
                None
            );
        }
        assert_eq!(
            KernelSocket::parse(&described(libc::AF_UNIX, 1, 0), None),
            None
        );
    }
}
