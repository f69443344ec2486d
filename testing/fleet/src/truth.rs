//! The truth about a fleet, which the queries have to find.

use std::collections::BTreeMap;

use serde::Serialize;
use tcpclose_core::finding::Finding;

/// What the records of a host add up to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Counts {
    /// All records.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Endpoints that closed.
    pub closes: u64,
    /// Resets among them.
    pub resets: u64,
    /// TIME_WAITs that are over.
    pub time_waits: u64,
    /// The time of all of them.
    pub time_wait_seconds: f64,
    /// Records of the kernel that were lost.
    pub lost: u64,
}

impl Counts {
    /// Counts a finding.
    pub fn take(&mut self, finding: &Finding) {
        match finding {
            Finding::Close(close) => {
                self.closes += 1;
                self.resets += u64::from(close.reset.is_some());
            }
            Finding::TimeWait(time_wait) => {
                self.time_waits += 1;
                self.time_wait_seconds += time_wait.dwell.as_millis() / 1e3;
            }
            Finding::Loss(loss) => self.lost += loss.lost,
            Finding::Stuck(_) => {}
        }
    }

    /// Adds those of another host.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.bytes += other.bytes;
        self.closes += other.closes;
        self.resets += other.resets;
        self.time_waits += other.time_waits;
        self.time_wait_seconds += other.time_wait_seconds;
        self.lost += other.lost;
    }
}

/// The truth.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Truth {
    /// The seed.
    pub seed: u64,
    /// How many hosts there are.
    pub hosts: usize,
    /// How many days were simulated.
    pub days: u32,
    /// What all records add up to.
    pub counts: Counts,
    /// `service version`, and how many sockets it has leaked on which both agents had their eyes.
    pub leaks: BTreeMap<String, u64>,
    /// When the first host got the leaking version.
    pub leak_since: String,
    /// `client's rack server's rack`, and how many connections a firewall between them has cut.
    pub resets_from_path: BTreeMap<String, u64>,
    /// `client's rack server's rack`, and on how many connections the client's FINs got lost.
    pub lost_fins: BTreeMap<String, u64>,
    /// `client server`, the services whose idle timeouts do not fit, and how often that was seen.
    pub idle_timeouts: BTreeMap<String, u64>,
    /// Gateways, and how many of their connects found no port.
    pub no_ports: BTreeMap<String, u64>,
    /// Hosts that lost records of their kernel, and how many.
    pub losses: BTreeMap<String, u64>,
    /// Hosts whose agents did not run for a while, and for how many hours.
    pub silent: BTreeMap<String, u64>,
    /// `service what`: what is more frequent on the last day than on the day before.
    pub changes: BTreeMap<String, u64>,
}

/// Counts one more.
pub fn count(counts: &mut BTreeMap<String, u64>, key: String) {
    *counts.entry(key).or_default() += 1;
}
