//! The kernel's own list of sockets, /proc/net/tcp: a truth beside sock_diag, which the program
//! under test asks.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

use super::capture::Ports;
use tcpclose_kit::netns::NetNs;
use tcpclose_parity::segment::Endpoint;

/// FIN_WAIT2 in /proc/net/tcp.
pub const FIN_WAIT2: u8 = 5;
/// `TIME_WAIT` as the kernel numbers it.
pub const TIME_WAIT: u8 = 6;

/// An emulated machine needs some ms for a look.
const PAUSE: Duration = Duration::from_millis(20);

/// When something happened, by this process' clock: not before, and not after.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// It had not happened yet.
    pub after: Instant,
    /// It had happened.
    pub before: Instant,
}

impl Moment {
    /// Around what `act` does.
    pub fn during<T>(act: impl FnOnce() -> T) -> (Self, T) {
        let after = Instant::now();
        let done = act();
        let before = Instant::now();
        (Self { after, before }, done)
    }
}

/// The state of one endpoint, as `/proc/net/tcp` shows it; `None` where it is not there.
pub fn state(ns: &NetNs, ports: Ports, end: Endpoint) -> Option<u8> {
    Tables::read(ns).state(ports, end)
}

/// The tables of a namespace: open files go on showing it wherever they are read. A thread that
/// stayed in the namespace would be a way into it, which the program finds.
struct Tables(Vec<File>);

impl Tables {
    fn read(ns: &NetNs) -> Self {
        let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
        let opened = ns.run(|| tables.map(File::open));
        // There is no second one without IPv6.
        Self(opened.into_iter().flatten().collect())
    }

    fn state(&mut self, ports: Ports, end: Endpoint) -> Option<u8> {
        self.0.iter_mut().find_map(|table| {
            let mut shown = String::new();
            table.rewind().unwrap();
            table.read_to_string(&mut shown).unwrap();
            find(&shown, ports, end)
        })
    }
}

fn find(table: &str, ports: Ports, end: Endpoint) -> Option<u8> {
    table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut port = || u16::from_str_radix(fields.next()?.rsplit_once(':')?.1, 16).ok();
        let found = (port()?, port()?);
        let state = u8::from_str_radix(fields.next()?, 16).ok()?;
        (found == ports.seen_from(end)).then_some(state)
    })
}

/// Waits until one endpoint is in this state, at most `limit`, and says when it came there: between
/// the last poll that showed another state (or `since`) and the first that showed it.
pub fn wait_for_state(
    ns: &NetNs,
    (ports, end): (Ports, Endpoint),
    wanted: Option<u8>,
    since: Instant,
    limit: Duration,
) -> Moment {
    let mut tables = Tables::read(ns);
    let deadline = Instant::now() + limit;
    let mut after = since;
    while Instant::now() < deadline {
        let began = Instant::now();
        if tables.state(ports, end) == wanted {
            let before = Instant::now();
            return Moment { after, before };
        }
        after = began;
        std::thread::sleep(PAUSE);
    }
    panic!("the {end}'s end {ports:?} never is in state {wanted:?}")
}

/// Waits until one endpoint is in TIME_WAIT.
pub fn enters(ns: &NetNs, ports: Ports, end: Endpoint, since: Instant) -> Moment {
    let limit = super::timeouts::WAIT_TIMEOUT;
    wait_for_state(ns, (ports, end), Some(TIME_WAIT), since, limit)
}

/// Waits until the minisocket of one endpoint is gone.
pub fn leaves(ns: &NetNs, ports: Ports, end: Endpoint, limit: Duration) -> Moment {
    wait_for_state(ns, (ports, end), None, Instant::now(), limit)
}
