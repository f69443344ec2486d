//! One `close` record of the program's JSON, and what a scenario can ask of it.

use std::fmt;

use serde_json::Value;

use tcpclose_parity::record::RecordedClose;

/// Each printed time may be rounded by itself.
const ROUNDING_MS: f64 = 0.05;

/// A `close` record. Every assertion shows the whole record when it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct Close(Value);

impl Close {
    /// Takes a parsed line.
    pub fn new(value: Value) -> Self {
        Self(value)
    }

    /// A field by its JSON pointer; null when it is not there.
    pub fn get(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn text(&self, pointer: &str) -> &str {
        self.get(pointer)
            .as_str()
            .unwrap_or_else(|| panic!("no text at {pointer}: {self}"))
    }

    /// A number that must be there.
    pub fn number(&self, pointer: &str) -> f64 {
        self.get(pointer)
            .as_f64()
            .unwrap_or_else(|| panic!("no number at {pointer}: {self}"))
    }

    /// Returns `conn.id`, which is the same in all records of an endpoint.
    pub fn id(&self) -> u64 {
        self.get("/conn/id")
            .as_u64()
            .unwrap_or_else(|| panic!("no id: {self}"))
    }

    /// `ts`: it sorts as the time does.
    pub fn ended(&self) -> String {
        self.text("/ts").to_owned()
    }

    /// Local and peer's port.
    pub fn ports(&self) -> (u16, u16) {
        let port = |pointer| {
            let number = self
                .get(pointer)
                .as_u64()
                .and_then(|number| u16::try_from(number).ok());
            number.unwrap_or_else(|| panic!("no port at {pointer}: {self}"))
        };
        (port("/conn/local/port"), port("/conn/peer/port"))
    }

    /// Returns `close.path`, the kind of the close.
    pub fn path(&self) -> &str {
        self.text("/close/path")
    }

    /// Names of the states passed.
    pub fn states(&self) -> Vec<&str> {
        let states = self
            .get("/states")
            .as_array()
            .unwrap_or_else(|| panic!("no states: {self}"));
        states
            .iter()
            .map(|state| state["state"].as_str().unwrap_or("?"))
            .collect()
    }

    /// Milliseconds spent in a state that it passed.
    pub fn ms_in(&self, state: &str) -> f64 {
        let states = self
            .get("/states")
            .as_array()
            .unwrap_or_else(|| panic!("no states: {self}"));
        let found = states.iter().find(|entry| entry["state"] == state);
        found
            .and_then(|entry| entry["ms"].as_f64())
            .unwrap_or_else(|| panic!("no time in {state}: {self}"))
    }

    /// What a capture can confirm.
    pub fn closing(&self) -> RecordedClose {
        let steps = self
            .get("/close/steps")
            .as_array()
            .unwrap_or_else(|| panic!("no steps: {self}"));
        let times: Vec<f64> = steps
            .iter()
            .filter_map(|step| step["at_ms"].as_f64())
            .collect();
        assert!(times.is_sorted(), "steps go back in time: {self}");
        RecordedClose::from_json(&self.0).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// Asserts a field's value.
    pub fn has(&self, pointer: &str, expected: impl Into<Value>) -> &Self {
        let expected = expected.into();
        assert_eq!(*self.get(pointer), expected, "{pointer} of {self}");
        self
    }

    /// Asserts that a field's value is one of several.
    pub fn has_one_of(&self, pointer: &str, expected: &[&str]) -> &Self {
        let text = self.get(pointer).as_str().unwrap_or("null");
        assert!(
            expected.contains(&text),
            "{pointer} is none of {expected:?}: {self}"
        );
        self
    }

    /// Asserts path and initiator.
    pub fn closed(&self, path: &str, initiator: &str) -> &Self {
        self.has("/close/path", path)
            .has("/close/initiator", initiator)
    }

    /// Asserts that the number of closing segments is known. Whether it is right, the capture says:
    /// a FIN may be sent again at any time.
    pub fn counts_segments(&self) -> &Self {
        assert!(
            self.closing().segments.is_some(),
            "how many segments? {self}"
        );
        self
    }

    /// Asserts the states passed, in order.
    pub fn passed(&self, states: &[&str]) -> &Self {
        assert_eq!(self.states(), states, "states of {self}");
        self
    }

    /// Asserts the application bytes each way.
    pub fn moved(&self, sent: u64, received: u64) -> &Self {
        self.has("/bytes/sent", sent)
            .has("/bytes/received", received)
    }

    /// Asserts that the owner is this process and comes from the one trustworthy source for a
    /// connecting endpoint.
    pub fn is_our_client(&self) -> &Self {
        self.has("/conn/role", "client")
            .has("/owner/source", "connect")
            .is_ours()
    }

    /// Asserts that the owner is this process and comes from a source that can be trusted for an
    /// accepting endpoint.
    pub fn is_our_server(&self) -> &Self {
        self.has("/conn/role", "server")
            .has_one_of("/owner/source", &["listen", "close", "proc"])
            .is_ours()
    }

    /// Asserts that the owner is this process.
    pub fn is_ours(&self) -> &Self {
        self.has("/owner/pid", std::process::id())
            .has("/owner/uid", 0)
    }

    /// Asserts what holds for every connection that the tracer saw from its first to its last
    /// moment: it reports that, and its times are sane.
    pub fn was_watched_from_start(&self) -> &Self {
        self.has("/conn/seen_from_start", true);
        for pointer in ["/ts", "/conn/opened"] {
            let time = self.text(pointer);
            assert!(
                is_utc_with_microseconds(time),
                "{pointer} is {time:?}: {self}"
            );
        }
        let states = self
            .get("/states")
            .as_array()
            .unwrap_or_else(|| panic!("no states: {self}"));
        let sum: f64 = states
            .iter()
            .map(|state| state["ms"].as_f64().unwrap_or(0.0))
            .sum();
        let lifetime = self.number("/conn/lifetime_ms");
        assert!(
            sum >= 0.0 && sum <= lifetime + ROUNDING_MS,
            "more time in states ({sum} ms) than life: {self}"
        );
        self
    }
}

impl fmt::Display for Close {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// Returns whether this is `2025-01-02T03:04:05.678901Z`.
fn is_utc_with_microseconds(text: &str) -> bool {
    const PATTERN: &str = "dddd-dd-ddTdd:dd:dd.ddddddZ";
    text.len() == PATTERN.len()
        && text
            .chars()
            .zip(PATTERN.chars())
            .all(|(letter, pattern)| match pattern {
                'd' => letter.is_ascii_digit(),
                _ => letter == pattern,
            })
}
