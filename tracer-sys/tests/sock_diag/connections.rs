//! Connections to list, and polling until the kernel has caught up.

use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use tcpclose_common::TcpState;
use tcpclose_core::types::{EndpointId, Tuple};
use tcpclose_sys::kernel::sock_diag::{DiagClient, KernelSocket, SocketLookup};

/// The result of a step, with any error.
pub type AnyResult<T> = Result<T, Box<dyn std::error::Error>>;

/// A connection whose both endpoints are here.
pub struct ConnectedPair {
    pub listener: TcpListener,
    pub client: TcpStream,
    pub server: TcpStream,
}

impl ConnectedPair {
    /// Connects to `connect`, at the port of a listener at `listen`.
    pub fn connect(listen: &str, connect: IpAddr) -> AnyResult<Self> {
        let listener = TcpListener::bind(listen)?;
        let client = TcpStream::connect((connect, listener.local_addr()?.port()))?;
        let (server, _) = listener.accept()?;
        Ok(Self {
            listener,
            client,
            server,
        })
    }

    pub fn v4() -> AnyResult<Self> {
        Self::connect("127.0.0.1:0", IpAddr::from([127, 0, 0, 1]))
    }
}

/// Both endpoints, as this one sees them.
pub fn tuple(stream: &TcpStream) -> AnyResult<Tuple> {
    Ok(Tuple::from((stream.local_addr()?, stream.peer_addr()?)))
}

/// The socket's cookie.
pub fn cookie(socket: &impl AsFd) -> EndpointId {
    EndpointId(rustix::net::sockopt::socket_cookie(socket).expect("every socket has one"))
}

/// Polls until the socket is as wanted: what a peer sends takes a moment even on loopback.
pub fn wait_for(
    diag: &mut DiagClient,
    lookup: &SocketLookup,
    wanted: impl Fn(Option<&KernelSocket>) -> bool,
) -> AnyResult<Option<KernelSocket>> {
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
) -> AnyResult<KernelSocket> {
    let wanted = |socket: Option<&KernelSocket>| socket.is_some_and(|socket| socket.state == state);
    wait_for(diag, lookup, wanted)?.ok_or("nothing".into())
}
