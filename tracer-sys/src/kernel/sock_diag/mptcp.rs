//! MPTCP sockets, and the TCP sockets that carry them.

use super::message::{attributes, read_u32, read_u64};

/// Whose sockets a dump lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketProtocol {
    /// TCP, with the subflows of MPTCP connections.
    #[default]
    Tcp,
    /// MPTCP connections and listeners.
    Mptcp,
}

/// `IPPROTO_MPTCP` of `linux/in.h`.
pub(super) const IPPROTO_MPTCP: u32 = 262;

/// A number that is no protocol's (RFC 3692: for experiments), for the field that is too small for
/// [`IPPROTO_MPTCP`]: kernels that do not know the attribute then refuse the request.
pub(super) const NO_PROTOCOL: u8 = 254;

/// The part of `struct mptcp_info` (`linux/mptcp.h`) that describes how a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MptcpInfo {
    /// Bytes written and not acknowledged by the peer.
    pub unsent: u64,
    /// How often data was sent again.
    pub retransmits: u32,
    /// Bytes that the application has sent.
    pub bytes_sent: u64,
    /// Bytes received in order.
    pub bytes_received: u64,
    /// Bytes acknowledged by the peer.
    pub bytes_acked: u64,
    /// Milliseconds since data was sent, since data came, and since an ACK came, each since the
    /// connection began where that never happened. `None` before 6.10.
    pub ages_ms: Option<[u32; 3]>,
}

impl MptcpInfo {
    /// Parses a `struct mptcp_info`, which only ever grows at its end. `None`: it is too short.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let ages = [84, 88, 92].map(|at| read_u32(bytes, at));
        let [sent, received, acked] = ages;
        Some(Self {
            unsent: read_u64(bytes, 16)?.saturating_sub(read_u64(bytes, 24)?),
            retransmits: read_u32(bytes, 44)?,
            bytes_sent: read_u64(bytes, 56)?,
            bytes_received: read_u64(bytes, 64)?,
            bytes_acked: read_u64(bytes, 72)?,
            ages_ms: sent.zip(received).zip(acked).map(|((a, b), c)| [a, b, c]),
        })
    }
}

/// Returns whether the attribute `INET_DIAG_ULP_INFO` says that a TCP socket is a subflow. Older
/// kernels give it only to those with `CAP_NET_ADMIN`.
pub(super) fn is_subflow(ulp: &[u8]) -> bool {
    const INET_ULP_INFO_NAME: u16 = 1;
    let mut parts = attributes(ulp);
    parts.any(|(kind, name)| kind == INET_ULP_INFO_NAME && name.starts_with(b"mptcp\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_mptcp_info_has_no_ages() {
        let mut info = [0; 120];
        info[16..24].copy_from_slice(&900_u64.to_ne_bytes());
        info[24..32].copy_from_slice(&800_u64.to_ne_bytes());
        info[88..92].copy_from_slice(&7_u32.to_ne_bytes());
        let parse = |length: usize| MptcpInfo::parse(&info[..length]);
        assert_eq!(parse(79), None);
        let old = parse(84).expect("it is long enough");
        assert_eq!((old.unsent, old.ages_ms), (100, None));
        let new = parse(96).expect("it is long enough");
        assert_eq!(new.ages_ms, Some([0, 7, 0]));
        assert_eq!(parse(120), Some(new));
    }

    #[test]
    fn a_subflow_is_known_by_its_upper_layer() {
        let of = |name: &[u8]| {
            let mut ulp = (4 + name.len() as u16).to_ne_bytes().to_vec();
            ulp.extend(1_u16.to_ne_bytes());
            ulp.extend(name);
            is_subflow(&ulp)
        };
        assert!(of(b"mptcp\0"));
        assert!(!of(b"tls\0"));
        assert!(!is_subflow(b""));
    }
}
