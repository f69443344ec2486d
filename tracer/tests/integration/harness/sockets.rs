//! Sockets, and what scenarios do with them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, Socket, Type};

use super::capture::Ports;

/// Which kind of sockets a scenario uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 sockets.
    V4,
    /// IPv6 sockets.
    V6,
    /// IPv6 sockets with IPv4 on the wire.
    Mapped,
}

impl Family {
    /// What the record calls it: what is on the wire.
    pub fn name(self) -> &'static str {
        if self == Self::V6 { "ipv6" } else { "ipv4" }
    }

    /// Where a server of this kind listens on loopback.
    pub fn listen_address(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::LOCALHOST.into(),
            Self::V6 => Ipv6Addr::LOCALHOST.into(),
            Self::Mapped => Ipv6Addr::UNSPECIFIED.into(),
        }
    }

    /// Where a client of this kind connects to on loopback.
    pub fn connect_address(self) -> IpAddr {
        match self {
            Self::Mapped => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
            Self::V4 | Self::V6 => self.listen_address(),
        }
    }
}

/// Both endpoints of an established connection, and the listener it came in on.
pub struct Connection {
    /// The connecting endpoint.
    pub client: TcpStream,
    /// The accepted endpoint.
    pub server: TcpStream,
    /// The listener, which is still open.
    pub listener: TcpListener,
    /// How to find the connection again when its endpoints are gone.
    pub ports: Ports,
}

/// The ports of a connection, from its connecting endpoint.
pub fn ports_of(client: &TcpStream) -> Ports {
    let local = client.local_addr().expect("a bound socket");
    let peer = client.peer_addr().expect("a connected socket");
    Ports {
        client: local.port(),
        server: peer.port(),
    }
}

/// Connects from a chosen local port, even if it was used a moment ago.
pub fn connect_from(local: SocketAddr, peer: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(peer), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&local.into())?;
    socket.connect(&peer.into())?;
    Ok(socket.into())
}

/// Sends a text.
pub fn send(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("sending");
}

/// Receives exactly as many bytes as the text has, and they are the text.
pub fn expect(mut stream: &TcpStream, text: &str) {
    let mut received = vec![0; text.len()];
    stream.read_exact(&mut received).expect("receiving");
    assert_eq!(String::from_utf8_lossy(&received), text);
}

/// Reads to the peer's FIN and returns how many bytes came before it.
pub fn read_to_end(mut stream: &TcpStream) -> usize {
    stream
        .read_to_end(&mut Vec::new())
        .expect("receiving to the end")
}

/// Waits until data is there and leaves it unread.
pub fn wait_for_data(stream: &TcpStream) {
    assert_eq!(stream.peek(&mut [0]).expect("peeking"), 1);
}
