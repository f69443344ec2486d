//! Network interfaces of the calling thread's namespace.

#![expect(unsafe_code, reason = "ioctls that rustix does not offer")]

use std::fs::{File, OpenOptions};
use std::io;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::system_call::check;

fn interface_request(name: &str) -> libc::ifreq {
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request
}

fn control(
    socket: &impl AsRawFd,
    operation: libc::c_ulong,
    request: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: the operations used here read and write at most one ifreq, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), operation, std::ptr::from_mut(request)) })
        .map(drop)
}

/// Brings an interface of the calling thread's namespace up.
///
/// # Errors
/// There is none of that name, or it is not allowed.
pub fn bring_up(interface: &str) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(&socket, libc::SIOCSIFFLAGS, &mut request)
}

/// Gives an interface an IPv4 address in a /24.
///
/// # Errors
/// There is none of that name, or it is not allowed.
pub fn add_ipv4(interface: &str, address: Ipv4Addr) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    for (operation, value) in [
        (libc::SIOCSIFADDR, address),
        (libc::SIOCSIFNETMASK, Ipv4Addr::new(255, 255, 255, 0)),
    ] {
        let mut request = interface_request(interface);
        let inet = libc::sockaddr_in {
            sin_family: libc::AF_INET as libc::sa_family_t,
            sin_port: 0,
            sin_addr: libc::in_addr {
                s_addr: u32::from_ne_bytes(value.octets()),
            },
            sin_zero: [0; 8],
        };
        const _: () = assert!(size_of::<libc::sockaddr_in>() == size_of::<libc::sockaddr>());
        // SAFETY: both are plain 16-byte socket addresses.
        request.ifr_ifru.ifru_addr =
            unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(inet) };
        control(&socket, operation, &mut request)?;
    }
    Ok(())
}

/// Gives an interface an IPv6 address in a /64.
///
/// # Errors
/// There is none of that name, or it is not allowed.
pub fn add_ipv6(interface: &str, address: Ipv6Addr) -> io::Result<()> {
    let socket = UdpSocket::bind("[::]:0")?;
    let mut request = interface_request(interface);
    control(&socket, libc::SIOCGIFINDEX, &mut request)?;
    let request = libc::in6_ifreq {
        ifr6_addr: libc::in6_addr {
            s6_addr: address.octets(),
        },
        ifr6_prefixlen: 64,
        // SAFETY: SIOCGIFINDEX has filled this member of the union.
        ifr6_ifindex: unsafe { request.ifr_ifru.ifru_ifindex },
    };
    // SAFETY: on an IPv6 socket the operation reads one in6_ifreq, which outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw const request) })
        .map(drop)
}

/// Creates a TUN interface in the calling thread's namespace. It disappears when the file is
/// closed.
///
/// # Errors
/// It is not allowed, or the kernel has no TUN.
pub fn open_tun(interface: &str) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")?;
    let mut request = interface_request(interface);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    control(&file, libc::TUNSETIFF, &mut request)?;
    Ok(file)
}
