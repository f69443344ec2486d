//! Makes the planned closes, many at a time.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, SockRef, Socket, Type};
use tcpclose_parity::segment::Endpoint;

use crate::moves::{Act, Kind, Move};
use crate::network::{Net, address};
use crate::plan::{Family, Plan};

/// Connections at a time: each mostly waits.
const AT_ONCE: usize = 64;
/// How long the last segments of the handshake may take, when they get lost.
const HANDSHAKE: Duration = Duration::from_secs(15);

/// A connection that was made.
#[derive(Clone, Debug)]
pub struct Played {
    /// The number of its plan.
    pub plan: usize,
    /// Its kind.
    pub kind: Kind,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
}

/// Carries out all plans. Returns the connections, those with the same ports in their order.
pub fn play(net: &Net, plans: &[Plan]) -> Result<Vec<Played>> {
    let next = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(number) else {
                return Ok(());
            };
            let done =
                perform(net, number, plan).with_context(|| format!("plan {number}: {plan:?}"))?;
            played.lock().expect("no panic meanwhile").extend(done);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker panicked"));
        ended.collect::<Result<()>>()
    })?;
    Ok(played.into_inner().expect("no panic meanwhile"))
}

fn perform(net: &Net, number: usize, plan: &Plan) -> Result<Vec<Played>> {
    let ipv6 = plan.family == Family::V6;
    net.of(Endpoint::Server).enter()?;
    let mut listener = Some(listen(plan).context("cannot listen")?);
    let port = local(listener.as_ref().expect("just made"))?.port();
    let server = SocketAddr::new(address(Endpoint::Server, ipv6), port);
    if plan.kind == Kind::Refused {
        listener = None;
    }
    net.of(Endpoint::Client).enter()?;
    let mut from = SocketAddr::new(address(Endpoint::Client, ipv6), 0);
    let mut played = Vec::new();
    for moves in &plan.rounds {
        // Once the port is known, all rounds use the same.
        let client = connect(plan.family, from, server)?;
        let Ok(client) = client else { break };
        from.set_port(local(&client)?.port());
        played.push(Played {
            plan: number,
            kind: plan.kind,
            client: from,
            server,
        });
        client.set_nonblocking(true)?;
        let mut stage = Stage {
            client: Some(client.into()),
            server: None,
            listener: listener.take(),
        };
        for action in moves {
            stage.perform(action);
        }
        listener = stage.listener.take();
        if plan.rounds.len() > 1 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(played)
}

fn listen(plan: &Plan) -> io::Result<Socket> {
    let (domain, address) = match plan.family {
        Family::V4 => (
            Domain::IPV4,
            SocketAddr::new(address(Endpoint::Server, false), 0),
        ),
        Family::V6 => (
            Domain::IPV6,
            SocketAddr::new(address(Endpoint::Server, true), 0),
        ),
        Family::Mapped => (
            Domain::IPV6,
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
        ),
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    socket.set_read_timeout(Some(HANDSHAKE))?;
    Ok(socket)
}

/// The outer error is the workload's own, the inner one the connection's: the port is still in use. A refused
/// connection is one.
fn connect(family: Family, from: SocketAddr, to: SocketAddr) -> Result<io::Result<Socket>> {
    let mapped = |address: SocketAddr| match address {
        SocketAddr::V4(v4) if family == Family::Mapped => {
            SocketAddr::new(v4.ip().to_ipv6_mapped().into(), v4.port())
        }
        _ => address,
    };
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 | Family::Mapped => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if let Err(error) = socket.bind(&mapped(from).into()) {
        return Ok(Err(error));
    }
    let connected = socket.connect_timeout(&mapped(to).into(), HANDSHAKE);
    let in_use = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
        )
    };
    Ok(match connected {
        Err(error) if in_use(&error) => Err(error),
        // Refused, or reset at once: a connection all the same.
        _ => Ok(socket),
    })
}

fn local(socket: &Socket) -> Result<SocketAddr> {
    let address = socket.local_addr()?.as_socket();
    address.context("an address of TCP")
}

/// The sockets of one connection.
struct Stage {
    client: Option<TcpStream>,
    server: Option<TcpStream>,
    listener: Option<Socket>,
}

impl Stage {
    /// What fails has failed because of what the other end did, which is what the workload is about.
    fn perform(&mut self, action: &Move) {
        if !action.after.is_zero() {
            thread::sleep(action.after);
        }
        let end = match action.end {
            Endpoint::Client => &mut self.client,
            Endpoint::Server => &mut self.server,
        };
        match (action.act, &mut *end) {
            (Act::Accept, _) => {
                let accepted = self
                    .listener
                    .as_ref()
                    .and_then(|listener| listener.accept().ok());
                if let Some((socket, _)) = accepted {
                    drop(socket.set_nonblocking(true));
                    self.server = Some(socket.into());
                }
            }
            (Act::StopListening, _) => self.listener = None,
            (Act::Close, _) => *end = None,
            (Act::BothClose | Act::BothShutdown, _) => self.at_once(action.act),
            (_, None) => {}
            (act, Some(stream)) => perform(stream, act),
        }

        fn perform(stream: &mut TcpStream, act: Act) {
            match act {
                Act::Send(bytes) => drop(stream.write(&vec![b'x'; bytes])),
                Act::Drain => drain(stream),
                Act::Shutdown(how) => drop(stream.shutdown(how)),
                Act::LingerZero => drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO))),
                Act::Cork => drop(SockRef::from(&*stream).set_tcp_cork(true)),
                _ => {}
            }
        }
    }

    /// Two threads meet and act in the same microsecond.
    fn at_once(&mut self, act: Act) {
        let arrived = AtomicU32::new(0);
        let meet = |stream: Option<TcpStream>| {
            arrived.fetch_add(1, Ordering::SeqCst);
            while arrived.load(Ordering::SeqCst) < 2 {
                std::hint::spin_loop();
            }
            match act {
                Act::BothShutdown => {
                    stream.inspect(|stream| drop(stream.shutdown(Shutdown::Write)))
                }
                _ => None,
            }
        };
        let (client, server) = (self.client.take(), self.server.take());
        thread::scope(|scope| {
            let other = scope.spawn(|| meet(server));
            self.client = meet(client);
            self.server = other.join().expect("no panic inside");
        });
    }
}

fn drain(stream: &mut TcpStream) {
    let mut buffer = [0; 1 << 16];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}
