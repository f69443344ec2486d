//! Connections that come and go as fast as they can: connect, one byte, close; both ends in one namespace.

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
/// So many connections a client may be ahead of its server: more than the listener's queue holds would wait a second to be
/// tried again.
const AHEAD: usize = 64;

/// Who plays the two ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// A client and a server, each in a thread of its own, as real connections have.
    TwoThreads,
    /// The same, but the client waits for the server's end of each connection before it makes the next, as most clients do.
    InTurn,
    /// One thread plays both. Nobody waits for the scheduler, so this is the fastest churn of one processor, and the
    /// hardest to trace: nothing of a tracer's cost hides in waiting.
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
pub fn churn(duration: Duration, ends: Ends) -> Result<Churned> {
    churn_in(duration, ends, 1)
}

/// Churns for so long in so many places at once.
pub fn churn_in(duration: Duration, ends: Ends, places: u8) -> Result<Churned> {
    let stop = AtomicBool::new(false);
    let until = &Until::Stopped(&stop);
    let begun = Instant::now();
    let connections = thread::scope(|scope| {
        let places: Vec<_> = (0..places)
            .map(|place| scope.spawn(move || make(place, ends, until)))
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

/// Makes so many connections, a client and a server in a thread each.
pub fn make_some(connections: u64) -> Result<()> {
    make(0, Ends::TwoThreads, &Until::Made(connections)).map(|_| ())
}

fn make(place: u8, ends: Ends, until: &Until) -> Result<u64> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).context("cannot listen")?;
    let port = listener.local_addr()?.port();
    let addresses = (1..=ADDRESSES)
        .cycle()
        .map(|number| SocketAddr::from((Ipv4Addr::new(127, 1, place, number), port)));
    match ends {
        Ends::OneThread => play_both(&listener, addresses, until),
        Ends::InTurn => thread::scope(|scope| {
            let server = scope.spawn(|| answer(&listener, until));
            let asked = ask(addresses, until);
            // It may wait for one more.
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
            server.join().expect("a thread has panicked")?;
            asked
        }),
        Ends::TwoThreads => thread::scope(|scope| {
            let (made, to_serve) = mpsc::sync_channel(AHEAD);
            let server = scope.spawn(|| serve(&listener, to_serve));
            let connected = connect(addresses, made, until);
            // It is reported that there is no more by a connection without a byte, also after an error.
            drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
            let served = server.join().expect("a thread has panicked")?;
            connected.map(|()| served)
        }),
    }
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

/// Reads what each server has to say, to its end. Returns how many there were.
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

/// Says one byte to each client, and closes.
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

/// Reads each connection to its end and closes it, until one comes without a byte. Returns how many there were before.
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
    fn what_is_served_is_what_was_made() {
        for ends in [Ends::OneThread, Ends::InTurn, Ends::TwoThreads] {
            assert_eq!(make(0, ends, &Until::Made(7)).unwrap(), 7);
        }
    }
}
