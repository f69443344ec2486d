//! A wire in user space: two TUN interfaces, one in each endpoint's namespace, and a thread between
//! them that has segments wait, overtake each other or get lost, and answers some with ICMP.
//!
//! TUN interfaces take whole packets with their checksums in place and have no link layer, so
//! nothing but the endpoints' own packets passes. A capture on either interface shows what its
//! endpoint sent, lost later or not, and what reached it, in the order in which it did.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use tcpclose_kit::interfaces;
use tcpclose_kit::netns::NetNs;
use tcpclose_parity::segment::Endpoint;

use crate::packet::{Tcp, tcp_of, unreachable};
use crate::treatment::{Decision, Treating};

/// The interface of either endpoint.
pub const INTERFACE: &str = "queue0";
/// The largest packet that IP knows.
const MAX_PACKET: usize = 1 << 16;

/// How the segments of each connection are treated, by the server's port.
type Connections = Arc<Mutex<HashMap<u16, Treating>>>;

/// The wire.
pub struct Queue {
    connections: Connections,
    stop: Arc<AtomicBool>,
    relay: Option<JoinHandle<()>>,
}

impl Queue {
    /// Creates it. The interfaces have no addresses yet.
    pub fn create(client: &NetNs, server: &NetNs) -> Result<Self> {
        let open = |ns: &NetNs| -> Result<File> {
            let tun = ns.run(|| interfaces::open_tun(INTERFACE));
            let tun = tun.context("cannot make a TUN interface")?;
            fcntl_setfl(&tun, fcntl_getfl(&tun)? | OFlags::NONBLOCK)?;
            Ok(tun)
        };
        let connections = Connections::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut relay = Relay {
            tuns: [open(client)?, open(server)?],
            connections: Arc::clone(&connections),
            stop: Arc::clone(&stop),
            waiting: BinaryHeap::new(),
            taken: 0,
        };
        Ok(Self {
            connections,
            stop,
            relay: Some(thread::spawn(move || relay.run())),
        })
    }

    /// From now on the connections of the server's port are treated so.
    pub fn treat(&self, port: u16, treating: Treating) {
        let mut connections = self.connections.lock().expect("no panic meanwhile");
        connections.insert(port, treating);
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            drop(relay.join());
        }
    }
}

/// A packet on its way.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    until: Instant,
    /// Of those that are due at once the first goes first.
    number: u64,
    to: usize,
    packet: Vec<u8>,
}

struct Relay {
    /// The client's and the server's.
    tuns: [File; 2],
    connections: Connections,
    stop: Arc<AtomicBool>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    taken: u64,
}

impl Relay {
    fn run(&mut self) {
        let mut buffer = vec![0; MAX_PACKET];
        while !self.stop.load(Ordering::Relaxed) {
            self.deliver();
            self.wait();
            for side in [0, 1] {
                self.take(side, &mut buffer);
            }
        }
    }

    /// Waits for a packet, or until one has to go on.
    fn wait(&self) {
        const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);
        let now = Instant::now();
        let due = self.waiting.peek().map(|Reverse(first)| first.until);
        let left = due.map_or(STOP_CHECK_INTERVAL, |due| {
            due.saturating_duration_since(now)
        });
        let timeout = Timespec::try_from(left.min(STOP_CHECK_INTERVAL)).expect("a short time");
        let mut fds = [0, 1].map(|side| PollFd::new(&self.tuns[side], PollFlags::IN));
        // Interrupted, it is called again anyway.
        let _ = poll(&mut fds, Some(&timeout));
    }

    /// Takes all packets that one endpoint has sent.
    fn take(&mut self, side: usize, buffer: &mut [u8]) {
        loop {
            let length = match (&self.tuns[side]).read(buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return,
            };
            let packet = &buffer[..length];
            let decision = match tcp_of(packet) {
                Some(segment) => self.decide(side, &segment),
                None => Decision {
                    arrives: Some(Duration::ZERO),
                    icmp: None,
                },
            };
            if let Some(code) = decision.icmp {
                self.hand_over(side, &unreachable(packet, code));
            }
            let Some(after) = decision.arrives else {
                continue;
            };
            if after.is_zero() {
                self.hand_over(1 - side, packet);
            } else {
                self.taken += 1;
                self.waiting.push(Reverse(Waiting {
                    until: Instant::now() + after,
                    number: self.taken,
                    to: 1 - side,
                    packet: packet.to_vec(),
                }));
            }
        }
    }

    fn decide(&self, side: usize, segment: &Tcp) -> Decision {
        let (from, port) = if side == 0 {
            (Endpoint::Client, segment.destination)
        } else {
            (Endpoint::Server, segment.source)
        };
        let mut connections = self.connections.lock().expect("no panic meanwhile");
        match connections.get_mut(&port) {
            Some(treating) => treating.decide(from, segment),
            None => Decision {
                arrives: Some(Duration::ZERO),
                icmp: None,
            },
        }
    }

    fn deliver(&mut self) {
        let now = Instant::now();
        while self
            .waiting
            .peek()
            .is_some_and(|Reverse(first)| first.until <= now)
        {
            if let Some(Reverse(due)) = self.waiting.pop() {
                self.hand_over(due.to, &due.packet);
            }
        }
    }

    /// What the interface does not take is lost on the way, as a capture at its endpoint shows.
    fn hand_over(&self, to: usize, packet: &[u8]) {
        let _ = (&self.tuns[to]).write(packet);
    }
}
