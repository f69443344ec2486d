//! What `ss -K` does: sock_diag(7)'s `SOCK_DESTROY`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use tcpclose_kit::netns::NetNs;

const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST_AND_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
const NLMSG_HEADER: usize = 16;

/// Destroys the socket with these addresses, whatever its state.
///
/// # Errors
/// The kernel's answer: `EOPNOTSUPP` where it does not destroy sockets in that state.
pub fn destroy(ns: &NetNs, local: SocketAddr, peer: SocketAddr) -> io::Result<()> {
    let request = request(local, peer);
    let mut answer = [0_u8; 512];
    let length = ns.run(|| {
        let netlink = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(NETLINK_SOCK_DIAG)),
        )?;
        netlink.send(&request)?;
        std::io::Read::read(&mut &netlink, &mut answer)
    })?;
    let word = |at: usize| -> [u8; 4] { answer[at..at + 4].try_into().expect("four bytes") };
    let kind = u16::from_ne_bytes([answer[4], answer[5]]);
    assert!(
        length >= NLMSG_HEADER + 4 && kind == NLMSG_ERROR,
        "an answer of {length} bytes, kind {kind}"
    );
    match i32::from_ne_bytes(word(NLMSG_HEADER)) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2` (linux/inet_diag.h).
fn request(local: SocketAddr, peer: SocketAddr) -> Vec<u8> {
    let address = |address: SocketAddr| {
        let mut bytes = [0; 16];
        match address.ip() {
            IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => bytes.copy_from_slice(&ip.octets()),
        }
        bytes
    };
    let family = if local.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let mut body = vec![family as u8, libc::IPPROTO_TCP as u8, 0, 0];
    body.extend(u32::MAX.to_ne_bytes());
    body.extend(local.port().to_be_bytes());
    body.extend(peer.port().to_be_bytes());
    body.extend(address(local));
    body.extend(address(peer));
    body.extend(0_u32.to_ne_bytes());
    // INET_DIAG_NOCOOKIE, twice.
    body.extend(u64::MAX.to_ne_bytes());

    let mut message = ((NLMSG_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(NLM_F_REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    message
}
