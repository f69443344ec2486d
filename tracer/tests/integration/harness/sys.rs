//! The few system calls that neither std nor socket2 offers. All `unsafe` of these tests is in this file.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use socket2::{Domain, Socket, Type};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Whether a socket is in FIN_WAIT2: its FIN has been acknowledged.
pub fn is_in_fin_wait2(stream: &TcpStream) -> io::Result<bool> {
    const FIN_WAIT2: u8 = 5;
    // The state is the first byte of `struct tcp_info`; the kernel fills as much as there is room for.
    let mut state = 0u8;
    let mut length = size_of::<u8>() as u32;
    let to = (&raw mut state).cast();
    // SAFETY: the kernel writes at most `length` bytes to `state`, and both outlive the call.
    check(unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            to,
            &raw mut length,
        )
    })?;
    Ok(state == FIN_WAIT2)
}

/// Dissolves the connection of a socket, which may connect again afterwards: connect() to `AF_UNSPEC`.
pub fn disconnect(stream: &TcpStream) -> io::Result<()> {
    // SAFETY: all-zero is a valid sockaddr.
    let mut nowhere: libc::sockaddr = unsafe { zeroed() };
    nowhere.sa_family = libc::AF_UNSPEC as libc::sa_family_t;
    let length = size_of::<libc::sockaddr>() as u32;
    // SAFETY: the address outlives the call and has the length given.
    check(unsafe { libc::connect(stream.as_raw_fd(), &raw const nowhere, length) }).map(drop)
}

/// Puts a connection into `TCP_REPAIR` mode, in which it can be moved to another host. Needs CAP_NET_ADMIN.
pub fn repair(stream: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value outlives the call and has the length given.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_REPAIR,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    check(result).map(drop)
}

/// Ends the process at once: no destructor runs, no descriptor is closed but by the kernel.
pub fn exit_without_close(code: i32) -> ! {
    // SAFETY: does not return, so nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}

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
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            operation as _,
            std::ptr::from_mut(request),
        )
    })
    .map(drop)
}

/// Gives an interface an IPv4 address in a /24.
pub fn add_ipv4(interface: &str, address: Ipv4Addr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
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
pub fn add_ipv6(interface: &str, address: Ipv6Addr) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
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
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFADDR as _,
            &raw const request,
        )
    })
    .map(drop)
}

/// Creates a TUN interface in the calling thread's namespace. It disappears when the file is closed.
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

/// Waits until the file can be read, for at most `ms` milliseconds.
pub fn readable(file: &impl AsRawFd, ms: i32) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: file.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, which outlives the call.
    check(unsafe { libc::poll(&raw mut poll, 1, ms) }).map(|ready| ready > 0)
}

/// A socket that copies every IP packet of the loopback interface, without its link header.
pub fn loopback_tap() -> io::Result<OwnedFd> {
    const LOOPBACK_INDEX: i32 = 1;
    const BUFFER: libc::c_int = 16 << 20;
    let protocol = (libc::ETH_P_ALL as u16).to_be();
    // SAFETY: takes no pointers.
    let fd = check(unsafe {
        libc::socket(
            libc::AF_PACKET,
            libc::SOCK_DGRAM | libc::SOCK_CLOEXEC,
            protocol.into(),
        )
    })?;
    // SAFETY: the descriptor is new and nobody else's.
    let tap = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: all-zero is a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    address.sll_ifindex = LOOPBACK_INDEX;
    let buffer = BUFFER;
    // SAFETY: pointers and lengths belong to locals that outlive the calls.
    unsafe {
        check(libc::bind(
            fd,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        ))?;
        check(libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const buffer).cast(),
            size_of::<libc::c_int>() as u32,
        ))?;
    }
    Ok(tap)
}

/// The next packet of a [`loopback_tap`] as it left, or `None` when there is none now. Loopback shows each packet
/// twice; the copy on arrival is passed over.
pub fn next_departing(tap: &OwnedFd, buffer: &mut [u8]) -> io::Result<Option<usize>> {
    loop {
        let mut address = MaybeUninit::<libc::sockaddr_ll>::zeroed();
        let mut length = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: buffer and address are valid for the lengths given.
        let got = unsafe {
            libc::recvfrom(
                tap.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                address.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock {
                Ok(None)
            } else {
                Err(error)
            };
        };
        // SAFETY: zeroed before the call, and all-zero is a valid sockaddr_ll.
        if unsafe { address.assume_init() }.sll_pkttype == libc::PACKET_OUTGOING {
            return Ok(Some(got));
        }
    }
}

/// One packet out of a TUN interface.
pub fn read_packet(mut tun: &File, buffer: &mut [u8]) -> io::Result<usize> {
    tun.read(buffer)
}

/// One packet into a TUN interface.
pub fn write_packet(mut tun: &File, packet: &[u8]) -> io::Result<()> {
    tun.write_all(packet)
}
