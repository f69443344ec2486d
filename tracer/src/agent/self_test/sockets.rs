//! The connections of the self-test: a stuck socket and a reset, both of this process on loopback.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use tcpclose_core::types::SELF_TEST_ADDRESS;

/// A stuck socket: its peer has closed, and nobody closes it.
pub(super) struct TestSocket {
    stuck: TcpStream,
    _peer: TcpStream,
    /// Which connections are the self-test's own, and not those of another one.
    listener: SocketAddr,
}

impl TestSocket {
    /// Makes a connection that is reset, and one that stays in CLOSE_WAIT.
    ///
    /// # Errors
    /// There is no loopback interface, or no port.
    pub fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((SELF_TEST_ADDRESS, 0))?;
        let (reset, _peer) = connection(&listener)?;
        close_with_reset(reset)?;
        let (peer, stuck) = connection(&listener)?;
        peer.shutdown(Shutdown::Write)?;
        Ok(Self {
            stuck,
            _peer: peer,
            listener: listener.local_addr()?,
        })
    }

    /// Returns the address and port at which both connections were accepted.
    pub const fn listener(&self) -> SocketAddr {
        self.listener
    }

    /// Ends the stuck connection with a reset, so that nothing stays in TIME_WAIT.
    ///
    /// # Errors
    /// The kernel refuses the option.
    pub fn close(self) -> io::Result<()> {
        close_with_reset(self.stuck)
    }
}

/// Returns the ends of a new connection: the client's and the server's.
fn connection(listener: &TcpListener) -> io::Result<(TcpStream, TcpStream)> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok((client, server))
}

fn close_with_reset(socket: TcpStream) -> io::Result<()> {
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))
}
