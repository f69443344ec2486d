//! The connection to a syslog receiver: datagrams, or frames in a stream.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::output::sink::config::SyslogAddress;
use crate::output::sink::transport::Delivered;

/// How long connecting may take, or a receiver may read nothing, before that is an outage.
const RECEIVER_TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for the ICMP error of a UDP port without a listener.
const REFUSAL_TIMEOUT: Duration = Duration::from_millis(200);

/// How long data may stay unacknowledged before the connection is replaced by a new one.
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that is opened when there is something to send.
pub(super) struct Connection {
    address: SyslogAddress,
    open: Option<OpenConnection>,
}

enum OpenConnection {
    Datagrams {
        socket: Socket,
        /// Whether a first message was sent and not refused: UDP also sends to ports without a
        /// listener.
        is_confirmed: bool,
    },
    /// A socket with the rest of a frame that was sent in part; it belongs to the next message.
    Stream(Socket, Vec<u8>),
}

impl Connection {
    pub(super) fn new(address: SyslogAddress) -> Self {
        Self {
            address,
            open: None,
        }
    }

    /// Sends messages until one cannot be sent.
    pub(super) fn send(&mut self, messages: impl Iterator<Item = Vec<u8>>) -> Delivered {
        let mut delivered = Delivered::default();
        if self.open.as_ref().is_some_and(OpenConnection::was_closed) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => match connect(&self.address) {
                Ok(open) => none.insert(open),
                Err(error) => {
                    delivered.unavailable = Some(format!("connecting failed: {error}").into());
                    return delivered;
                }
            },
        };
        for message in messages {
            match open.send(&message) {
                Ok(()) => delivered.written += 1,
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    delivered.failed += 1;
                    delivered.refusal = Some(format!(
                        "{} bytes are too many for one datagram; reduce max_size",
                        message.len()
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let seconds = RECEIVER_TIMEOUT.as_secs();
                    delivered.unavailable =
                        Some(format!("the receiver has read nothing for {seconds} s").into());
                    return delivered;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.open = None;
                    delivered.unavailable =
                        Some(format!("no program listens there: {error}").into());
                    return delivered;
                }
                Err(error) => {
                    self.open = None;
                    delivered.unavailable = Some(format!("sending failed: {error}").into());
                    return delivered;
                }
            }
        }
        delivered
    }
}

impl OpenConnection {
    /// Returns whether the receiver has closed the stream. Writing to it would lose messages
    /// without an error.
    fn was_closed(&self) -> bool {
        let Self::Stream(socket, _) = self else {
            return false;
        };
        let mut buffer = [MaybeUninit::uninit(); 1];
        match socket.recv_with_flags(&mut buffer, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
            // Receivers send nothing; one that does is alive.
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams {
                socket,
                is_confirmed,
            } => {
                socket.send(message)?;
                if !*is_confirmed {
                    wait_for_refusal(socket)?;
                    *is_confirmed = true;
                }
                Ok(())
            }
            Self::Stream(socket, rest) => {
                if rest.is_empty() {
                    rest.extend_from_slice(format!("{} ", message.len()).as_bytes());
                    rest.extend_from_slice(message);
                }
                while !rest.is_empty() {
                    match socket.send(rest) {
                        Ok(sent) => drop(rest.drain(..sent)),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(())
            }
        }
    }
}

fn wait_for_refusal(socket: &Socket) -> io::Result<()> {
    socket.set_read_timeout(Some(REFUSAL_TIMEOUT))?;
    match socket.recv(&mut [MaybeUninit::uninit(); 1]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}

fn connect(address: &SyslogAddress) -> io::Result<OpenConnection> {
    match address {
        SyslogAddress::Unix(path) => match unix(path, Type::DGRAM) {
            Ok(socket) => Ok(OpenConnection::Datagrams {
                socket,
                is_confirmed: true,
            }),
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(
                OpenConnection::Stream(unix(path, Type::STREAM)?, Vec::new()),
            ),
            Err(error) => Err(error),
        },
        SyslogAddress::Udp(address) => connect_to_first(address, |address| {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
            socket.connect(&address.into())?;
            Ok(OpenConnection::Datagrams {
                socket,
                is_confirmed: false,
            })
        }),
        SyslogAddress::Tcp(address) => connect_to_first(address, |address| {
            let socket = Socket::from(TcpStream::connect_timeout(&address, RECEIVER_TIMEOUT)?);
            socket.set_write_timeout(Some(RECEIVER_TIMEOUT))?;
            socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
            Ok(OpenConnection::Stream(socket, Vec::new()))
        }),
    }
}

fn unix(path: &Path, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_write_timeout(Some(RECEIVER_TIMEOUT))?;
    Ok(socket)
}

/// Connects to the first address of a host that works, or returns the last error.
fn connect_to_first(
    host_and_port: &str,
    connect: impl Fn(SocketAddr) -> io::Result<OpenConnection>,
) -> io::Result<OpenConnection> {
    let mut result = Err(io::Error::other("the host has no address"));
    for address in host_and_port.to_socket_addrs()? {
        result = connect(address);
        if result.is_ok() {
            break;
        }
    }
    result
}
