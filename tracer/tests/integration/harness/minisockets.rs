//! The kernel's own list of sockets, /proc/net/tcp: a truth beside sock_diag, which the program under test asks.

use std::fs;
use std::time::{Duration, Instant};

use super::capture::Ports;
use super::netns::NetNs;
use crate::closing::End;

/// FIN_WAIT2 in /proc/net/tcp.
pub const FIN_WAIT2: u8 = 5;
/// TIME_WAIT there.
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
    pub fn of<T>(act: impl FnOnce() -> T) -> (Self, T) {
        let after = Instant::now();
        let done = act();
        let before = Instant::now();
        (Self { after, before }, done)
    }
}

/// The state of one end, as `/proc/net/tcp` shows it; `None` where it is not there.
pub fn state(ns: &NetNs, ports: Ports, end: End) -> Option<u8> {
    ns.run(|| read(ports, end))
}

fn read(ports: Ports, end: End) -> Option<u8> {
    let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
    let tables = tables.map(|table| fs::read_to_string(table).unwrap_or_default());
    tables
        .iter()
        .flat_map(|table| table.lines())
        .find_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let mut port = || u16::from_str_radix(fields.next()?.rsplit_once(':')?.1, 16).ok();
            let found = (port()?, port()?);
            let state = u8::from_str_radix(fields.next()?, 16).ok()?;
            (found == ports.seen_from(end)).then_some(state)
        })
}

/// Waits until one end is in this state, at most `limit`, and says when it came there: between the last look that
/// showed another state (or `since`) and the first that showed it.
pub fn wait_for_state(
    ns: &NetNs,
    (ports, end): (Ports, End),
    wanted: Option<u8>,
    since: Instant,
    limit: Duration,
) -> Moment {
    let found = ns.run(|| {
        let deadline = Instant::now() + limit;
        let mut after = since;
        while Instant::now() < deadline {
            let began = Instant::now();
            if read(ports, end) == wanted {
                let before = Instant::now();
                return Some(Moment { after, before });
            }
            after = began;
            std::thread::sleep(PAUSE);
        }
        None
    });
    found.unwrap_or_else(|| panic!("the {end}'s end {ports:?} never is in state {wanted:?}"))
}

/// Waits until one end is in TIME_WAIT.
pub fn enters(ns: &NetNs, ports: Ports, end: End, since: Instant) -> Moment {
    let limit = super::process::PATIENCE;
    wait_for_state(ns, (ports, end), Some(TIME_WAIT), since, limit)
}

/// Waits until the minisocket of one end is gone.
pub fn leaves(ns: &NetNs, ports: Ports, end: End, limit: Duration) -> Moment {
    wait_for_state(ns, (ports, end), None, Instant::now(), limit)
}
