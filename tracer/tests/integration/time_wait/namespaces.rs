//! Namespaces that the program cannot look into any more. Only hooks tell then; else nobody saw the
//! end, and nothing else may be claimed. The minute is waited for in [`expiry`](super::expiry).

use std::time::{Duration, Instant};

use crate::harness::capture::Ports;
use crate::harness::lab::Lab;
use crate::harness::minisockets::Moment;
use crate::harness::requirements::has_hooks;
use crate::harness::sockets::Family;
use crate::harness::time_wait::TimeWait;
use crate::harness::timeouts::WAIT_TIMEOUT;
use crate::harness::watch::Watch;
use crate::time_wait::close_first;
use tcpclose_parity::segment::Endpoint::Client;

/// The kernel takes namespaces down in its own time, but soon.
const CLEANED_UP: Duration = WAIT_TIMEOUT;

/// A connection in TIME_WAIT in a namespace watched from outside; its close has been reported.
fn begin() -> (Lab, Ports, Moment) {
    let lab = Lab::watched_from_outside(Family::V4).expect("the caller traces");
    let connection = lab.converse("ping", "pong");
    let entered = close_first(&lab, &connection, Client);
    lab.close(connection.ports, Client);
    (lab, connection.ports, entered)
}

fn is_unknown(reported: &TimeWait) {
    reported
        .ended("unknown")
        .has("/time_wait/measured", "sweep");
}

/// The namespace lives, but no process is in it.
pub struct OutOfReach {
    pub lab: Lab,
    pub ports: Ports,
    entered: Moment,
}

impl OutOfReach {
    pub fn begin() -> Self {
        let (mut lab, ports, entered) = begin();
        lab.remove_resident();
        Self {
            lab,
            ports,
            entered,
        }
    }

    /// `left`: when it really ended.
    pub fn end(self, left: Moment) {
        let reported = self.lab.time_wait(self.ports, Client);
        if has_hooks() {
            reported.ended("expired").measured_by_hook_or("hook");
        } else {
            is_unknown(&reported);
        }
        reported.lasted(self.entered, left);
        self.lab.finish();
    }
}

/// The namespace is gone, and all its minisockets with it.
pub struct Vanished {
    watch: Watch,
    ports: Ports,
    entered: Moment,
    left: Moment,
}

impl Vanished {
    pub fn begin() -> Self {
        let (lab, ports, entered) = begin();
        let after = Instant::now();
        Self {
            watch: lab.vanish(),
            ports,
            entered,
            left: Moment {
                after,
                before: after + CLEANED_UP,
            },
        }
    }

    pub fn end(self) {
        let reported = self.watch.time_wait(self.ports, Client, WAIT_TIMEOUT);
        if has_hooks() {
            reported.ended("killed").measured_by_hook_or("hook");
        } else {
            is_unknown(&reported);
        }
        reported.lasted(self.entered, self.left);
        self.watch.stop();
    }
}
