//! A wire that a test controls: packets pass, wait or get lost as the test decides.
//!
//! One TUN interface whose far side is a mirror: what is sent to the address beyond it comes back
//! with source and destination exchanged, and so reaches a listener in the same namespace.
//! Exchanging leaves all checksums right.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::capture::Packet;
use tcpclose_kit::interfaces;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::skip;
use tcpclose_kit::wait::{eventually, is_readable};

const INTERFACE: &str = "wire0";
const NEAR_V4: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 1);
const FAR_V4: Ipv4Addr = Ipv4Addr::new(10, 66, 0, 2);
const NEAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 1);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0xfd66, 0, 0, 0, 0, 0, 0, 2);

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The segment arrives.
    Pass,
    /// It waits for [`Wire::release`].
    Wait,
    /// It is lost.
    Lost,
}

type Judge = Box<dyn FnMut(&Packet) -> Fate + Send>;

struct State {
    judge: Judge,
    /// In the order in which they left, whatever became of them: a capture on the sender's side.
    departed: Vec<Packet>,
    waiting: Vec<Vec<u8>>,
}

struct Shared {
    tun: File,
    state: Mutex<State>,
    stop: AtomicBool,
}

/// The wire. All packets pass until [`Self::judge_by`] says otherwise.
pub struct Wire {
    shared: Arc<Shared>,
    relay: Option<JoinHandle<()>>,
}

impl Wire {
    /// Creates the wire; `None` (and reported) where the kernel has no TUN.
    pub fn create(ns: &NetNs) -> Option<Self> {
        let tun = match ns.run(|| interfaces::open_tun(INTERFACE)) {
            Ok(tun) => tun,
            Err(error) => {
                skip::skip(&format!("no TUN interface: {error}"));
                return None;
            }
        };
        ns.run(|| {
            interfaces::add_ipv4(INTERFACE, NEAR_V4).expect("an IPv4 address on the wire");
            interfaces::add_ipv6(INTERFACE, NEAR_V6).expect("an IPv6 address on the wire");
            interfaces::bring_up(INTERFACE).expect("the wire up");
            // The kernel makes an IPv6 address usable in a work queue, also where it looks for no
            // duplicate.
            eventually(|| UdpSocket::bind((NEAR_V6, 0)).ok()).expect("a usable IPv6 address");
        });
        let state = State {
            judge: Box::new(|_| Fate::Pass),
            departed: Vec::new(),
            waiting: Vec::new(),
        };
        let shared = Arc::new(Shared {
            tun,
            state: Mutex::new(state),
            stop: AtomicBool::new(false),
        });
        let relayed = Arc::clone(&shared);
        let relay = thread::spawn(move || relayed.relay());
        Some(Self {
            shared,
            relay: Some(relay),
        })
    }

    /// Where a server listens.
    pub fn near(ipv6: bool) -> IpAddr {
        if ipv6 { NEAR_V6.into() } else { NEAR_V4.into() }
    }

    /// Where a client connects to.
    pub fn far(ipv6: bool) -> IpAddr {
        if ipv6 { FAR_V6.into() } else { FAR_V4.into() }
    }

    /// From now on this decides over each packet.
    pub fn judge_by(&self, judge: impl FnMut(&Packet) -> Fate + Send + 'static) {
        self.shared.state.lock().unwrap().judge = Box::new(judge);
    }

    /// How many packets wait.
    pub fn waiting(&self) -> usize {
        self.shared.state.lock().unwrap().waiting.len()
    }

    /// Lets all packets pass from now on, those that wait first and in their order.
    pub fn release(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.judge = Box::new(|_| Fate::Pass);
        for packet in std::mem::take(&mut state.waiting) {
            (&self.shared.tun)
                .write_all(&packet)
                .expect("the wire takes packets");
        }
    }

    /// Puts a packet of the test's own making on the wire, as if it came from the far side.
    pub fn inject(&self, packet: &[u8]) {
        (&self.shared.tun)
            .write_all(packet)
            .expect("the wire takes packets");
    }

    /// All packets that have left so far.
    pub fn packets(&self) -> Vec<Packet> {
        self.shared.state.lock().unwrap().departed.clone()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(relay) = self.relay.take() {
            drop(relay.join());
        }
    }
}

impl Shared {
    fn relay(&self) {
        const STOP_CHECK_INTERVAL: Duration = Duration::from_millis(50);
        const MAX_PACKET_SIZE: usize = 1 << 16;
        let mut buffer = vec![0; MAX_PACKET_SIZE];
        while !self.stop.load(Ordering::Relaxed) {
            if !is_readable(&self.tun, STOP_CHECK_INTERVAL).expect("polling the wire") {
                continue;
            }
            let length = (&self.tun).read(&mut buffer).expect("reading the wire");
            let bytes = &mut buffer[..length];
            // Neighbour discovery and the like get lost: nobody is there.
            let Some(packet) = Packet::parse(bytes) else {
                continue;
            };
            exchange_addresses(bytes);
            let mut state = self.state.lock().unwrap();
            state.departed.push(packet);
            match (state.judge)(&packet) {
                Fate::Pass => (&self.tun)
                    .write_all(bytes)
                    .expect("the wire takes packets"),
                Fate::Wait => state.waiting.push(bytes.to_vec()),
                Fate::Lost => {}
            }
        }
    }
}

fn exchange_addresses(packet: &mut [u8]) {
    let (at, length) = if packet[0] >> 4 == 4 {
        (12, 4)
    } else {
        (8, 16)
    };
    let (source, destination) = packet[at..at + 2 * length].split_at_mut(length);
    source.swap_with_slice(destination);
}
