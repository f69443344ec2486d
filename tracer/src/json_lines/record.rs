//! The fields of the records that are read; docs/json.md has them all.

use std::net::IpAddr;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct CloseRecord {
    pub ts: String,
    pub netns: Option<u32>,
    pub conn: Conn,
    pub owner: Option<Owner>,
    pub close: ClosePart,
    pub states: Vec<State>,
    pub bytes: Bytes,
    pub retransmits: Option<u32>,
    pub reset: Option<Reset>,
    pub half_close: Option<HalfClose>,
}

#[derive(Deserialize)]
pub(super) struct TimeWaitRecord {
    pub ts: String,
    pub netns: Option<u32>,
    pub conn: Conn,
    pub owner: Option<Owner>,
    pub time_wait: TimeWaitPart,
}

#[derive(Deserialize)]
pub(super) struct StuckRecord {
    pub ts: String,
    pub event: String,
    pub conn: Conn,
    pub owner: Option<Owner>,
    pub stuck: StuckPart,
}

#[derive(Deserialize)]
pub(super) struct LossRecord {
    pub ts: String,
    pub lost: u64,
    #[serde(rename = "where")]
    pub location: String,
    pub repaired: bool,
    pub duration_ms: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Conn {
    pub id: u64,
    pub local: Address,
    pub peer: Address,
    pub role: String,
    pub seen_from_start: bool,
    pub opened: Option<String>,
    pub lifetime_ms: Option<f64>,
    pub peer_owner: Option<Owner>,
}

#[derive(Deserialize)]
pub(super) struct Address {
    pub addr: IpAddr,
    pub port: u16,
}

#[derive(Deserialize)]
pub(super) struct Owner {
    pub pid: u32,
    pub comm: String,
    pub uid: u32,
    pub cgroup: Option<String>,
    pub source: String,
    pub thread: Option<Thread>,
}

#[derive(Deserialize)]
pub(super) struct Thread {
    pub name: String,
    pub id: u32,
}

#[derive(Deserialize)]
pub(super) struct ClosePart {
    pub path: String,
    pub initiator: String,
    pub cause: Option<String>,
    pub peer_cause: Option<String>,
    pub errno: Option<u16>,
    pub lost: Option<Lost>,
    pub idle_ms: Option<f64>,
    pub segments: Option<u32>,
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
pub(super) struct Lost {
    pub unacknowledged_bytes: u32,
    pub unread_bytes: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Step {
    pub from: String,
    pub flags: String,
    pub seq: Option<u32>,
    pub ack: Option<u32>,
    pub at_ms: Option<f64>,
    pub known: String,
}

#[derive(Deserialize)]
pub(super) struct State {
    pub state: String,
    pub ms: Option<f64>,
}

#[derive(Deserialize)]
pub(super) struct Bytes {
    pub sent: Option<u64>,
    pub received: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Reset {
    pub by: String,
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct HalfClose {
    pub by: String,
    pub ms: f64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

#[derive(Deserialize)]
pub(super) struct TimeWaitPart {
    pub entered: String,
    pub dwell_ms: f64,
    pub end: String,
    pub measured: String,
    pub error_ms: f64,
    pub restarts: u32,
}

#[derive(Deserialize)]
pub(super) struct StuckPart {
    pub state: String,
    pub verdict: String,
}
