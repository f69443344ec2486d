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

/// Churns for so long with so many clients, each with a server of its own.
pub fn churn(duration: Duration, clients: u8) -> Result<Churned> {
    let stop = AtomicBool::new(false);
    let begun = Instant::now();
    let connections = thread::scope(|scope| {
        let stop = &stop;
        let pairs: Vec<_> = (0..clients)
            .map(|client| scope.spawn(move || pair(client, stop)))
            .collect();
        thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        let mut connections = 0;
        for pair in pairs {
            connections += pair.join().expect("a client has panicked")?;
        }
        anyhow::Ok(connections)
    })?;
    Ok(Churned {
        connections,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

fn pair(client: u8, stop: &AtomicBool) -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
    let port = listener.local_addr()?.port();
    thread::scope(|scope| {
        scope.spawn(move || {
            // The last connection says that there are no more.
            for connection in listener.incoming().map_while(Result::ok) {
                let mut connection: TcpStream = connection;
                let mut byte = [0];
                if connection.read(&mut byte).is_ok_and(|read| read == 1) && byte == *b"." {
                    return;
                }
            }
        });
        let mut connections = 0;
        for number in (0..ADDRESSES).cycle() {
            let host = Ipv4Addr::new(127, 1, client, 1 + number);
            let mut connection =
                TcpStream::connect(SocketAddr::from((host, port))).context("cannot connect")?;
            let last = stop.load(Ordering::Relaxed);
            connection.write_all(if last { b"." } else { b"x" })?;
            connections += 1;
            if last {
                break;
            }
        }
        Ok(connections)
    })
}
