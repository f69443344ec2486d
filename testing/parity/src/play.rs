//! Makes the planned closes, many at a time.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socket2::{Domain, Socket, Type};
use tcpclose_parity::segment::Endpoint;

use crate::network::{Network, address};
use crate::plan::{Family, Plan};
use crate::players::Players;
use crate::steps::CloseKind;
use crate::treatment::Treating;

/// Connections at a time: each waits most of its time.
const MAX_PARALLEL: usize = 64;
/// The last segments of a handshake may get lost and be sent again.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);

/// A receive buffer that is soon full.
const SMALL_BUFFER: usize = 4_096;

/// A connection that was made.
#[derive(Clone, Debug)]
pub struct Played {
    /// The number of its plan.
    pub plan: usize,
    /// Its kind.
    pub kind: CloseKind,
    /// The client's address and port.
    pub client: SocketAddr,
    /// The server's.
    pub server: SocketAddr,
}

/// Carries out all plans. Returns the connections, those with the same ports in their order.
pub fn play(network: &Network, seed: u64, plans: &[Plan]) -> Result<Vec<Played>> {
    let next = AtomicUsize::new(0);
    let played = Mutex::new(Vec::new());
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = plans.get(number) else {
                return Ok(());
            };
            let done = run_plan(network, seed, number, plan)
                .with_context(|| format!("plan {number}: {plan:?}"))?;
            played.lock().expect("no panic meanwhile").extend(done);
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..MAX_PARALLEL).map(|_| scope.spawn(worker)).collect();
        let ended = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker panicked"));
        ended.collect::<Result<()>>()
    })?;
    Ok(played.into_inner().expect("no panic meanwhile"))
}

fn run_plan(network: &Network, seed: u64, number: usize, plan: &Plan) -> Result<Vec<Played>> {
    let ipv6 = plan.family == Family::V6;
    network.namespace_of(Endpoint::Server).enter()?;
    let mut listener = Some(listen(plan).context("cannot listen")?);
    let port = local(listener.as_ref().expect("just made"))?.port();
    let server = SocketAddr::new(address(plan.wire(), Endpoint::Server, ipv6), port);
    if let Some(treatment) = &plan.treatment {
        let treating = Treating::new(treatment.clone(), seed, number as u64);
        network.queue().treat(port, treating);
    }
    if plan.kind == CloseKind::Refused {
        listener = None;
    }
    network.namespace_of(Endpoint::Client).enter()?;
    let mut from = SocketAddr::new(address(plan.wire(), Endpoint::Client, ipv6), 0);
    let own_listener = if plan.kind == CloseKind::DialFromListener {
        let listener = listen_at(plan.family, from, plan)?;
        from.set_port(local(&listener)?.port());
        Some(listener)
    } else {
        None
    };
    let mut played = Vec::new();
    for steps in &plan.rounds {
        // Once the port is known, all rounds use the same.
        let client = connect(plan, from, server)?;
        let Ok(client) = client else { break };
        from.set_port(local(&client)?.port());
        played.push(Played {
            plan: number,
            kind: plan.kind,
            client: from,
            server,
        });
        client.set_nonblocking(true)?;
        let mut players = Players {
            client: Some(client.into()),
            server: None,
            listener: listener.take(),
            ipv6,
        };
        for step in steps {
            players.take_step(step);
        }
        listener = players.listener.take();
        if plan.rounds.len() > 1 {
            thread::sleep(Duration::from_millis(10));
        }
    }
    drop(own_listener);
    Ok(played)
}

fn listen(plan: &Plan) -> io::Result<Socket> {
    let ipv6 = plan.family == Family::V6;
    let address = SocketAddr::new(address(plan.wire(), Endpoint::Server, ipv6), 0);
    let listener = listen_at(plan.family, address, plan)?;
    listener.set_read_timeout(Some(HANDSHAKE_TIMEOUT))?;
    Ok(listener)
}

fn listen_at(family: Family, address: SocketAddr, plan: &Plan) -> io::Result<Socket> {
    let address = match family {
        Family::V4 | Family::V6 => address,
        Family::Mapped => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    prepare(&socket, plan)?;
    socket.bind(&address.into())?;
    socket.listen(16)?;
    Ok(socket)
}

/// What a socket needs before it is bound.
fn prepare(socket: &Socket, plan: &Plan) -> io::Result<()> {
    match plan.kind {
        CloseKind::ClosedWindow => socket.set_recv_buffer_size(SMALL_BUFFER),
        CloseKind::DialFromListener => socket.set_reuse_port(true),
        _ => Ok(()),
    }
}

/// The outer error is the workload's own, the inner one the connection's: the port is still in use.
/// A refused connection is one.
fn connect(plan: &Plan, from: SocketAddr, to: SocketAddr) -> Result<io::Result<Socket>> {
    let family = plan.family;
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
    prepare(&socket, plan)?;
    if let Err(error) = socket.bind(&mapped(from).into()) {
        return Ok(Err(error));
    }
    let connected = socket.connect_timeout(&mapped(to).into(), HANDSHAKE_TIMEOUT);
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
