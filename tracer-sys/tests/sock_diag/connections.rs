//! Connections to look at, and looking until the kernel has caught up.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use tcpclose_common::TcpState;
use tcpclose_core::types::{EndpointId, Tuple};
use tcpclose_sys::kernel::sock_diag::{DiagClient, KernelSocket, SocketLookup};

/// Any error will do.
pub type Any<T> = Result<T, Box<dyn std::error::Error>>;

/// A connection whose both ends are here.
pub struct Pair {
    pub listener: TcpListener,
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Pair {
    /// A listener's address, and the one to connect to.
    pub fn to(listen: &str, connect: IpAddr) -> Any<Self> {
        let listener = TcpListener::bind(listen)?;
        let client = TcpStream::connect((connect, listener.local_addr()?.port()))?;
        let (server, _) = listener.accept()?;
        Ok(Self {
            listener,
            client,
            server,
        })
    }

    pub fn v4() -> Any<Self> {
        Self::to("127.0.0.1:0", IpAddr::from([127, 0, 0, 1]))
    }
}

/// Both ends, as this one sees them.
pub fn tuple(stream: &TcpStream) -> Any<Tuple> {
    Ok(Tuple::from((stream.local_addr()?, stream.peer_addr()?)))
}

/// The socket's cookie.
pub fn cookie(socket: &impl AsFd) -> EndpointId {
    EndpointId(rustix::net::sockopt::socket_cookie(socket).expect("every socket has one"))
}

/// Looks until the socket is as wanted: what a peer sends takes a moment even on loopback.
pub fn wait_for(
    diag: &mut DiagClient,
    lookup: &SocketLookup,
    wanted: impl Fn(Option<&KernelSocket>) -> bool,
) -> Any<Option<KernelSocket>> {
    let start = Instant::now();
    loop {
        let socket = diag.lookup(lookup)?;
        if wanted(socket.as_ref()) {
            return Ok(socket);
        }
        if start.elapsed() > Duration::from_secs(5) {
            return Err(format!("it stays {socket:?}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits until the socket is in this state.
pub fn in_state(
    diag: &mut DiagClient,
    lookup: &SocketLookup,
    state: TcpState,
) -> Any<KernelSocket> {
    let wanted = |socket: Option<&KernelSocket>| socket.is_some_and(|socket| socket.state == state);
    wait_for(diag, lookup, wanted)?.ok_or("nothing".into())
}
