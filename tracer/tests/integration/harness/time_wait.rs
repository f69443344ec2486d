//! One `time_wait` record of the program's JSON, and what a scenario can ask of it.

use std::fmt;
use std::time::Instant;

use serde_json::Value;

use super::minisockets::Moment;
use super::record::Close;
use super::requirements::has_hooks;

/// Printed times are rounded, each by itself.
const ROUNDING_MS: f64 = 0.01;

/// A `time_wait` record. Every assertion shows the whole record when it fails.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeWait(Close);

impl TimeWait {
    /// Reads a line.
    pub fn parse(line: &str) -> Self {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}): {line}"));
        Self(Close::new(value))
    }

    /// Local and peer's port.
    pub fn ports(&self) -> (u16, u16) {
        self.0.ports()
    }

    /// Asserts a field's value.
    pub fn has(&self, pointer: &str, expected: impl Into<Value>) -> &Self {
        self.0.has(pointer, expected);
        self
    }

    /// Asserts how it ended.
    pub fn ended(&self, end: &str) -> &Self {
        self.has("/time_wait/end", end)
    }

    /// Asserts how that is known: by a hook where there are any, else in this way.
    pub fn measured_by_hook_or(&self, otherwise: &str) -> &Self {
        self.has(
            "/time_wait/measured",
            if has_hooks() { "hook" } else { otherwise },
        );
        if has_hooks() {
            self.has("/time_wait/error_ms", 0.0);
        }
        self
    }

    /// How long it lasted, in ms.
    pub fn dwell_ms(&self) -> f64 {
        self.0.number("/time_wait/dwell_ms")
    }

    /// Asserts that it lasted as long as it really did, as exactly as the record itself claims.
    pub fn lasted(&self, entered: Moment, left: Moment) -> &Self {
        let ms = |from: Instant, to: Instant| {
            let span = to.saturating_duration_since(from);
            span.as_secs_f64() * 1e3
        };
        let (least, most) = (
            ms(entered.before, left.after),
            ms(entered.after, left.before),
        );
        let error = self.0.number("/time_wait/error_ms") + ROUNDING_MS;
        let dwell = self.dwell_ms();
        assert!(
            least - error <= dwell && dwell <= most + error,
            "it lasted between {least} and {most} ms: {self}"
        );
        self
    }
}

impl fmt::Display for TimeWait {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
