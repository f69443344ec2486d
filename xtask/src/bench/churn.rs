//! Connections that come and go as fast as they can: connect, one byte, close; client and server in
//! one namespace.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Addresses that the servers have together: ports in TIME_WAIT are not used up in one round.
const ADDRESSES: u8 = 100;
/// Connections that a client may be ahead of its server. A connection that the listener's queue has
/// no room for would be tried again only after a second.
const MAX_CLIENT_LEAD: usize = 64;

/// Which threads play client and server of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosePattern {
    /// A client and a server, each in a thread of its own, as real connections have.
    TwoThreads,
    /// The same, but the client waits until the server has closed each connection before it makes
    /// the next, as most clients do.
    InTurn,
    /// One thread plays both. No thread waits for the scheduler, so this is the fastest churn of
    /// one processor, and the hardest to trace: nothing of a tracer's cost hides in waiting.
    OneThread,
}

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

/// When a churn ends.
enum Until<'a> {
    Stopped(&'a AtomicBool),
    Made(u64),
}

impl Until<'_> {
    fn is_over(&self, made: u64) -> bool {
        match self {
            Self::Stopped(stop) => stop.load(Ordering::Relaxed),
            Self::Made(wanted) => made >= *wanted,
        }
    }
}

/// Churns for so long in one place.
pub fn churn(duration: Duration, pattern: ClosePattern) -> Result<Churned> {
    churn_in(duration, pattern, 1)
}

/// Churns for so long in so many places at once.
pub fn churn_in(duration: Duration, pattern: ClosePattern, places: u8) -> Result<Churned> {
    let stop = AtomicBool::new(false);
    let until = &Until::Stopped(&stop);
    let begun = Instant::now();
    let connections = thread::scope(|scope| {
        let places: Vec<_> = (0..places)
            .map(|place| scope.spawn(move || make(place, pattern, until)))
            .collect();
        thread::sleep(duration);
        stop.store(true, Ordering::Relaxed);
        let mut connections = 0;
        for place in places {
            connections += place.join().expect("a thread has panicked")?;
        }
        anyhow::Ok(connections)
    })?;
    Ok(Churned {
        connections,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Makes so many connections a second for so long, at even intervals. One thread plays client and
/// server.
pub fn paced(duration: Duration, connections_a_second: u32) -> Result<Churned> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
    let wanted = duration.as_secs() * u64::from(connections_a_second);
    let begun = Instant::now();
    let addresses = (0..).zip(addresses(0, listener.local_addr()?.port()));
    let in_time = addresses.map(|(number, address)| {
        let due = Duration::from_secs(number) / connections_a_second;
        thread::sleep(due.saturating_sub(begun.elapsed()));
        address
    });
    let connections = play_both(&listener, in_time, &Until::Made(wanted))?;
    Ok(Churned {
        connections,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Makes so many connections, a client and a server in a thread each.
pub fn make_some(connections: u64) -> Result<()> {
    make(0, ClosePattern::TwoThreads, &Until::Made(connections)).map(|_| ())
}

fn make(place: u8, pattern: ClosePattern, until: &Until) -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
    let port = listener.local_addr()?.port();
    let addresses = addresses(place, port);
    match pattern {
        ClosePattern::OneThread => play_both(&listener, addresses, until),
        ClosePattern::InTurn => thread::scope(|scope| {
            let server = scope.spawn(|| answer(&listener, until));
            let asked = ask(addresses, until);
            // It may wait for one more.
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
            server.join().expect("a thread has panicked")?;
            asked
        }),
        ClosePattern::TwoThreads => thread::scope(|scope| {
            let (made, to_serve) = mpsc::sync_channel(MAX_CLIENT_LEAD);
            let server = scope.spawn(|| serve(&listener, to_serve));
            let connected = connect(addresses, made, until);
            // A connection without a byte ends the server, also after an error.
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
            let served = server.join().expect("a thread has panicked")?;
            connected.map(|()| served)
        }),
    }
}

/// Returns the servers' addresses, round and round.
fn addresses(place: u8, port: u16) -> impl Iterator<Item = SocketAddr> {
    (1..=ADDRESSES)
        .cycle()
        .map(move |number| SocketAddr::from((Ipv4Addr::new(127, 1, place, number), port)))
}

fn play_both(
    listener: &TcpListener,
    addresses: impl Iterator<Item = SocketAddr>,
    until: &Until,
) -> Result<u64> {
    let mut made = 0;
    for address in addresses {
        let mut opened = TcpStream::connect(address).context("cannot connect")?;
        let (mut accepted, _) = listener.accept().context("cannot accept")?;
        opened.write_all(b"x")?;
        accepted.read_exact(&mut [0])?;
        drop(opened);
        drop(accepted);
        made += 1;
        if until.is_over(made) {
            break;
        }
    }
    Ok(made)
}

/// Reads each connection to its end. Returns how many there were.
fn ask(addresses: impl Iterator<Item = SocketAddr>, until: &Until) -> Result<u64> {
    let mut made = 0;
    for address in addresses {
        let mut opened = TcpStream::connect(address).context("cannot connect")?;
        opened.read_exact(&mut [0]).context("cannot read")?;
        opened.read_to_end(&mut Vec::new()).context("cannot read")?;
        made += 1;
        if until.is_over(made) {
            break;
        }
    }
    Ok(made)
}

/// Sends one byte to each client, and closes.
fn answer(listener: &TcpListener, until: &Until) -> Result<()> {
    for made in 1.. {
        let (mut accepted, _) = listener.accept().context("cannot accept")?;
        // The last one does not listen.
        let _ = accepted.write_all(b"x");
        if until.is_over(made) {
            break;
        }
    }
    Ok(())
}

fn connect(
    addresses: impl Iterator<Item = SocketAddr>,
    made: SyncSender<()>,
    until: &Until,
) -> Result<()> {
    for (number, address) in (1..).zip(addresses) {
        // An error means that the server has ended, which has the reason.
        let may_go_on = made.send(()).is_ok();
        TcpStream::connect(address)
            .context("cannot connect")?
            .write_all(b"x")?;
        if until.is_over(number) || !may_go_on {
            break;
        }
    }
    Ok(())
}

/// Reads each connection to its end and closes it, until one comes without a byte. Returns how many
/// there were before.
fn serve(listener: &TcpListener, made: Receiver<()>) -> Result<u64> {
    let mut served = 0;
    loop {
        let (mut accepted, _) = listener.accept().context("cannot accept")?;
        let mut bytes = 0;
        loop {
            match accepted.read(&mut [0; 16]) {
                Ok(0) => break,
                Ok(more) => bytes += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read"),
            }
        }
        if bytes == 0 {
            return Ok(served);
        }
        served += 1;
        let _ = made.recv();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_made_is_served() {
        for pattern in [
            ClosePattern::OneThread,
            ClosePattern::InTurn,
            ClosePattern::TwoThreads,
        ] {
            assert_eq!(make(0, pattern, &Until::Made(7)).unwrap(), 7);
        }
    }

    #[test]
    fn a_paced_churn_keeps_its_rate() {
        let churned = paced(Duration::from_secs(1), 5).unwrap();
        assert_eq!(churned.connections, 5);
        // The fifth begins after four intervals.
        assert!(churned.seconds >= 0.8, "{churned:?}");
    }
}
