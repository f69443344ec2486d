//! The part of tcpclose's record that a capture can confirm.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde_json::Value;

/// How one end closed, as told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedClose {
    /// `close.path`.
    pub path: String,
    /// `close.initiator`.
    pub initiator: String,
    /// `close.segments`, where the record knows it.
    pub segments: Option<u64>,
    /// `reset.by`, where the record knows of a reset.
    pub reset_by: Option<String>,
    /// `close.steps`.
    pub steps: Vec<RecordedStep>,
}

/// One of `close.steps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// `local` or `peer`.
    pub from: String,
    /// As in [`crate::closing::ClosingSegment::flags`].
    pub flags: String,
    /// Relative sequence number, where the record knows it.
    pub seq: Option<u64>,
    /// Relative acknowledgment number, where the record knows it.
    pub ack: Option<u64>,
    /// The record says that it has not seen this segment itself.
    pub inferred: bool,
}

impl RecordedClose {
    /// From a `close` record. The reason says what of the format is not there.
    pub fn from_json(record: &Value) -> Result<Self, String> {
        let close = &record["close"];
        let steps = close["steps"]
            .as_array()
            .ok_or("no close.steps in a close")?;
        Ok(Self {
            path: text(close, "path")?,
            initiator: text(close, "initiator")?,
            segments: close["segments"].as_u64(),
            reset_by: record["reset"]["by"].as_str().map(str::to_owned),
            steps: steps
                .iter()
                .map(RecordedStep::from_json)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl RecordedStep {
    fn from_json(step: &Value) -> Result<Self, String> {
        let known = text(step, "known")?;
        if !["observed", "inferred"].contains(&known.as_str()) {
            return Err(format!("a step is known as {known:?}"));
        }
        Ok(Self {
            from: text(step, "from")?,
            flags: text(step, "flags")?,
            seq: step["seq"].as_u64(),
            ack: step["ack"].as_u64(),
            inferred: known == "inferred",
        })
    }
}

/// A record with what tells which end of which connection it is about.
#[derive(Clone, Debug)]
pub struct Record {
    /// Address and port of the end.
    pub local: SocketAddr,
    /// Address and port of its peer.
    pub peer: SocketAddr,
    /// When the connection was there: established, or at the latest when it ended.
    pub at: Timestamp,
    /// Whether it ever was established, as far as the record knows.
    pub opened: bool,
    /// How it closed.
    pub close: RecordedClose,
    /// The line itself.
    pub line: String,
}

impl Record {
    /// Reads one line of tcpclose's JSON; `None` for a record of another kind.
    pub fn parse(line: &str) -> Result<Option<Self>, String> {
        let json: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
        if json["v"] != 1 {
            return Err(format!("version {}", json["v"]));
        }
        if json["kind"] != "close" {
            return Ok(None);
        }
        let conn = &json["conn"];
        let when = conn["opened"].as_str().or_else(|| json["ts"].as_str());
        let at = when.ok_or("no time")?;
        Ok(Some(Self {
            local: address(&conn["local"])?,
            peer: address(&conn["peer"])?,
            at: at.parse().map_err(|_| format!("{at:?} is no time"))?,
            opened: conn["seen_from_start"] != true
                || !conn["opened"].is_null()
                || json["states"][0]["state"] == "ESTABLISHED",
            close: RecordedClose::from_json(&json)?,
            line: line.to_owned(),
        }))
    }
}

fn text(object: &Value, key: &str) -> Result<String, String> {
    let text = object[key].as_str().map(str::to_owned);
    text.ok_or_else(|| format!("no {key} in {object}"))
}

fn address(end: &Value) -> Result<SocketAddr, String> {
    let ip = end["addr"]
        .as_str()
        .and_then(|ip| ip.parse::<IpAddr>().ok());
    let port = end["port"].as_u64().and_then(|port| port.try_into().ok());
    match (ip, port) {
        (Some(ip), Some(port)) => Ok(SocketAddr::new(ip, port)),
        _ => Err(format!("no address in {end}")),
    }
}

impl fmt::Display for RecordedStep {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: Option<u64>| {
            number.map_or_else(|| "?".to_owned(), |number| number.to_string())
        };
        write!(
            out,
            "{} {} seq {} ack {}",
            self.from,
            self.flags,
            number(self.seq),
            number(self.ack)
        )
    }
}
