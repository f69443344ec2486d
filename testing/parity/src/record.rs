//! The part of tcpclose's record that a capture can confirm.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// How one endpoint closed, as reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedClose {
    /// The path (`close.path`).
    pub path: String,
    /// Who began to close (`close.initiator`).
    pub initiator: String,
    /// `close.segments`, where the record knows it.
    pub segments: Option<u64>,
    /// `reset.by`, where the record knows of a reset.
    pub reset_by: Option<String>,
    /// The closing segments (`close.steps`).
    pub steps: Vec<RecordedStep>,
    /// `half_close`, where the record has one.
    pub half_close: Option<RecordedHalfClose>,
}

/// `half_close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedHalfClose {
    /// `local` or `peer`.
    pub by: String,
    /// How long it lasted.
    pub lasted: SignedDuration,
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
    /// The record marks this segment as inferred.
    pub inferred: bool,
}

impl RecordedClose {
    /// From a `close` record. The error names what is missing.
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
            half_close: match &record["half_close"] {
                Value::Null => None,
                half_close => Some(RecordedHalfClose::from_json(half_close)?),
            },
        })
    }
}

impl RecordedHalfClose {
    fn from_json(half_close: &Value) -> Result<Self, String> {
        let ms = half_close["ms"].as_f64().ok_or("no ms in a half_close")?;
        let lasted = SignedDuration::try_from_secs_f64(ms / 1_000.0);
        Ok(Self {
            by: text(half_close, "by")?,
            lasted: lasted.map_err(|error| error.to_string())?,
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

/// A record, and which endpoint of which connection it is about.
#[derive(Clone, Debug)]
pub struct Record {
    /// Address and port of the endpoint.
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
