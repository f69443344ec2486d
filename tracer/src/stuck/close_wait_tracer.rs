//! Sees sockets enter and leave CLOSE_WAIT, for looks that repeat: what it saw is exact, where a look can only estimate.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tcpclose_common::TcpState;
use tokio::time::Instant;

use crate::notice::notice;
use tcpclose_core::event::{Event, Transition};
use tcpclose_core::stuck::Resolution;
use tcpclose_core::types::{EndpointId, Nanos};
use tcpclose_sys::kernel::loader::{self, LoadError, Options};
use tcpclose_sys::kernel::reader::{Attached, Reader};

/// Sockets remembered at most, in each way; more are not. Their ages are estimated then.
const REMEMBERED: usize = 1 << 20;

/// How often the kernel's counters of what was lost are read.
const COUNTING: Duration = Duration::from_secs(1);

/// While there is traffic the ring is read every 20 ms: how long to wait for a record, and how often.
const READING: Duration = Duration::from_millis(25);
const READINGS: usize = 3;

/// Programs at work. What they see is shared with who looks.
pub struct CloseWaitTracer {
    reader: Reader,
    attached: Attached,
    history: CloseWaitHistory,
}

/// What was seen of sockets in CLOSE_WAIT.
#[derive(Clone, Debug, Default)]
pub struct CloseWaitHistory(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    entered: HashMap<EndpointId, Nanos>,
    left: HashMap<EndpointId, (Nanos, Resolution)>,
    /// Those that nobody has asked for yet: the look under way may still show them, so the next one asks.
    unasked: HashMap<EndpointId, (Nanos, Resolution)>,
    /// Of those that stayed for a shorter time nobody asks how they left.
    least: Nanos,
}

impl CloseWaitTracer {
    /// Loads and attaches the programs; must run within a tokio runtime. `least`: how long sockets stay in CLOSE_WAIT
    /// before anybody asks about them.
    ///
    /// # Errors
    /// [`LoadError`]: nothing can be traced here. `None`: it could, but the kernel does not tell sockets apart.
    pub fn start(options: &Options, least: Nanos) -> Result<Option<Self>, LoadError> {
        let programs = loader::load(options)?;
        if !programs.has_cookie {
            return Ok(None);
        }
        let (reader, attached) = programs.into_reader().map_err(|error| LoadError::Other {
            doing: "polling the ring buffer",
            error: error.into(),
        })?;
        let seen = Seen {
            least,
            ..Seen::default()
        };
        Ok(Some(Self {
            reader,
            attached,
            history: CloseWaitHistory(Arc::new(Mutex::new(seen))),
        }))
    }

    /// What it has seen and will see.
    #[must_use]
    pub fn history(&self) -> CloseWaitHistory {
        self.history.clone()
    }

    /// Watches, for as long as it is waited for.
    ///
    /// # Errors
    /// When the ring buffer can no longer be read.
    pub async fn watch(mut self) -> io::Result<()> {
        let mut count_at = Instant::now();
        loop {
            self.reader.wait(Some(count_at)).await?;
            let mut lost = 0;
            if Instant::now() >= count_at {
                count_at = Instant::now() + COUNTING;
                lost = self.reader.take_lost()? + self.attached.take_misses();
            }
            let mut seen = self.history.lock();
            let until = self.reader.horizon();
            self.reader.drain(until, |event| match event {
                Ok(Event::Transition(transition)) => seen.take(&transition),
                Ok(Event::Signal(_)) => {}
                Err(_) => lost += 1,
            })?;
            if lost > 0 {
                // Some may have left since.
                seen.entered.clear();
                notice!(
                    "{lost} of the kernel's records were lost: ages that were seen are estimated again"
                );
            }
        }
    }
}

impl CloseWaitHistory {
    /// When a socket entered CLOSE_WAIT, in which it still is; `None` where that was not seen.
    pub fn entered(&self, id: EndpointId) -> Option<Nanos> {
        self.lock().entered.get(&id).copied()
    }

    /// When and how these sockets left it, where that was seen. What is not asked for twice is forgotten. Waits a moment
    /// for records that are still to be read.
    pub fn take_left(&self, ids: &[EndpointId]) -> HashMap<EndpointId, (Nanos, Resolution)> {
        let mut found = HashMap::new();
        let mut older = std::mem::take(&mut self.lock().unasked);
        let mut newer = HashMap::new();
        for reading in 0..=READINGS {
            let room = REMEMBERED - newer.len();
            newer.extend(std::mem::take(&mut self.lock().left).into_iter().take(room));
            for id in ids {
                let end = newer.remove(id).or_else(|| older.remove(id));
                found.extend(end.map(|end| (*id, end)));
            }
            if found.len() == ids.len() || reading == READINGS {
                break;
            }
            thread::sleep(READING);
        }
        self.lock().unasked = newer;
        found
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        // It is whole after each change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, transition: &Transition) {
        let Transition {
            at, id, old, new, ..
        } = *transition;
        if old == new {
            return;
        }
        if new == TcpState::CloseWait {
            if self.entered.len() < REMEMBERED {
                self.entered.insert(id, at);
            }
            return;
        }
        let entered = self.entered.remove(&id);
        let was_asked_for = entered.is_none_or(|entered| at - entered >= self.least);
        if old == TcpState::CloseWait && was_asked_for && self.left.len() < REMEMBERED {
            self.left.insert(id, (at, Resolution::of(transition)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_core::event::{Evidence, Task};
    use tcpclose_core::types::{NetNs, Tuple};

    fn transition(id: u64, second: u64, old: TcpState, new: TcpState) -> Transition {
        Transition {
            at: Nanos::from_secs(second),
            id: EndpointId(id),
            skaddr: None,
            old,
            new,
            netns: NetNs::new(1),
            tuple: Tuple::from((([10, 0, 0, 1], 80).into(), ([10, 0, 0, 2], 40_000).into())),
            task: Some(Task {
                pid: 9,
                uid: 0,
                cgroup: None,
                comm: [0; 16],
                exits: Some(false),
            }),
            evidence: Some(Evidence::default()),
        }
    }

    #[test]
    fn only_what_stayed_long_enough_is_remembered_when_it_leaves() {
        use TcpState::{CloseWait, Established, LastAck};
        let history = CloseWaitHistory::default();
        history.lock().least = Nanos::from_secs(60);
        let take = |transition| history.lock().take(&transition);
        for id in [1, 2, 3] {
            take(transition(id, 100, Established, CloseWait));
        }
        assert_eq!(history.entered(EndpointId(1)), Some(Nanos::from_secs(100)));
        take(transition(1, 159, CloseWait, LastAck));
        take(transition(2, 160, CloseWait, LastAck));
        // Nobody saw this one enter.
        take(transition(4, 160, CloseWait, LastAck));
        assert_eq!(history.entered(EndpointId(1)), None);
        // A look that still saw the second.
        history.take_left(&[]);
        let left = history.take_left(&[EndpointId(1), EndpointId(2), EndpointId(3), EndpointId(4)]);
        let closed = (Nanos::from_secs(160), Resolution::Closed);
        assert_eq!(
            left,
            HashMap::from([(EndpointId(2), closed), (EndpointId(4), closed)])
        );
        assert!(history.take_left(&[EndpointId(2)]).is_empty());
    }

    #[test]
    fn what_two_looks_do_not_ask_for_is_forgotten() {
        use TcpState::{CloseWait, LastAck};
        let history = CloseWaitHistory::default();
        history.lock().take(&transition(1, 10, CloseWait, LastAck));
        history.take_left(&[]);
        history.take_left(&[]);
        assert!(history.take_left(&[EndpointId(1)]).is_empty());
    }
}
