//! How messages get to the receiver: as datagrams, or as frames of a stream.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::output::sink::config::SyslogAddress;
use crate::output::sink::transport::Delivered;

/// How long a receiver may take for a connection, or take nothing, until that is called an outage.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the answer may take that nobody listens on a UDP port.
const REFUSAL: Duration = Duration::from_millis(200);

/// How long a peer may leave data unacknowledged until the connection is given up for a new one.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// Comes to be when there is something to send.
pub(super) struct Connection {
    address: SyslogAddress,
    open: Option<Open>,
}

enum Open {
    Datagrams {
        socket: Socket,
        /// One was sent and nobody refused it. Over UDP it can be sent to nobody, too.
        tried: bool,
    },
    /// With what is left of a frame that was sent in part: always of the next message.
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
        let mut progress = Delivered::default();
        if self.open.as_ref().is_some_and(Open::was_closed) {
            self.open = None;
        }
        let open = match &mut self.open {
            Some(open) => open,
            none => match connect(&self.address) {
                Ok(open) => none.insert(open),
                Err(error) => {
                    progress.down = Some(format!("connecting failed: {error}").into());
                    return progress;
                }
            },
        };
        for message in messages {
            match open.send(&message) {
                Ok(()) => progress.written += 1,
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    progress.failed += 1;
                    progress.refusal = Some(format!(
                        "{} bytes are too much for a datagram there; make max_size smaller",
                        message.len()
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let seconds = PATIENCE.as_secs();
                    progress.down =
                        Some(format!("the receiver has read nothing for {seconds} s").into());
                    return progress;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.open = None;
                    progress.down = Some(format!("nobody listens there: {error}").into());
                    return progress;
                }
                Err(error) => {
                    self.open = None;
                    progress.down = Some(format!("sending failed: {error}").into());
                    return progress;
                }
            }
        }
        progress
    }
}

impl Open {
    /// Whether the receiver has closed the stream: what is written then would go nowhere, and be no error.
    fn was_closed(&self) -> bool {
        let Self::Stream(socket, _) = self else {
            return false;
        };
        let mut buffer = [MaybeUninit::uninit(); 1];
        match socket.recv_with_flags(&mut buffer, libc::MSG_PEEK | libc::MSG_DONTWAIT) {
            // Receivers have nothing to say; if one does, it is alive.
            Ok(read) => read == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    fn send(&mut self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Datagrams { socket, tried } => {
                socket.send(message)?;
                if !*tried {
                    wait_for_refusal(socket)?;
                    *tried = true;
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
    socket.set_read_timeout(Some(REFUSAL))?;
    match socket.recv(&mut [MaybeUninit::uninit(); 1]) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error),
        _ => Ok(()),
    }
}

fn connect(address: &SyslogAddress) -> io::Result<Open> {
    match address {
        SyslogAddress::Unix(path) => match unix(path, Type::DGRAM) {
            Ok(socket) => Ok(Open::Datagrams {
                socket,
                tried: true,
            }),
            Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
                Ok(Open::Stream(unix(path, Type::STREAM)?, Vec::new()))
            }
            Err(error) => Err(error),
        },
        SyslogAddress::Udp(address) => first_of(address, |address| {
            let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
            socket.connect(&address.into())?;
            Ok(Open::Datagrams {
                socket,
                tried: false,
            })
        }),
        SyslogAddress::Tcp(address) => first_of(address, |address| {
            let socket = Socket::from(TcpStream::connect_timeout(&address, PATIENCE)?);
            socket.set_write_timeout(Some(PATIENCE))?;
            socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
            Ok(Open::Stream(socket, Vec::new()))
        }),
    }
}

fn unix(path: &Path, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, kind, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// The first address of a host that works. The last error where none does.
fn first_of(
    host_and_port: &str,
    connect: impl Fn(SocketAddr) -> io::Result<Open>,
) -> io::Result<Open> {
    let mut result = Err(io::Error::other("the host has no address"));
    for address in host_and_port.to_socket_addrs()? {
        result = connect(address);
        if result.is_ok() {
            break;
        }
    }
    result
}
