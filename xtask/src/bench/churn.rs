//! Connections that come and go as fast as they can: connect, one byte, close; both ends in one namespace.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Addresses that the servers have together: ports in TIME_WAIT are not used up in one round.
const ADDRESSES: u8 = 100;

/// What one churn was.
#[derive(Clone, Copy, Debug)]
pub struct Churned {
    /// Connections that were opened and closed.
    pub connections: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Churned {
    /// Connections a second.
    pub fn rate(self) -> f64 {
        self.connections as f64 / self.seconds
    }
}

/// Churns for so long in so many threads.
pub fn churn(duration: Duration, threads: u8) -> Result<Churned> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let connections = thread::scope(|scope| {
        let stop = &stop;
        let pairs: Vec<_> = (0..threads)
            .map(|client| scope.spawn(move || pair(client, stop)))
            .collect();
        thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        let mut connections = 0;
        for pair in pairs {
            connections += pair.join().expect("a thread has panicked")?;
        }
        anyhow::Ok(connections)
    })?;
    Ok(Churned {
        connections,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Plays both ends in one thread: neither waits for the other to be scheduled, so nothing but the connections is measured.
fn pair(client: u8, stop: &AtomicBool) -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
    let port = listener.local_addr()?.port();
    let mut connections = 0;
    for number in (1..=ADDRESSES).cycle() {
        let address = SocketAddr::from((Ipv4Addr::new(127, 1, client, number), port));
        let mut opened = TcpStream::connect(address).context("cannot connect")?;
        let (mut accepted, _) = listener.accept().context("cannot accept")?;
        opened.write_all(b"x")?;
        accepted.read_exact(&mut [0])?;
        drop(opened);
        drop(accepted);
        connections += 1;
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(connections)
}
