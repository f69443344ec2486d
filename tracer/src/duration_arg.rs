//! Durations on the command line.

use std::time::Duration;

use thiserror::Error;

/// Why a duration on the command line is refused.
#[derive(Debug, Error)]
pub(crate) enum InvalidDuration {
    #[error("a duration needs a unit: write {0}s for {0} seconds")]
    NoUnit(u64),
    #[error("a duration is written like 30s or 5m: {0}")]
    Syntax(#[from] humantime::DurationError),
    #[error("must be at least {}", humantime::format_duration(*.0))]
    TooShort(Duration),
}

/// Reads a duration such as `30s`.
pub(crate) fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    match text.parse() {
        // Zero needs none.
        Ok(number @ 1..) => Err(InvalidDuration::NoUnit(number)),
        _ => Ok(humantime::parse_duration(text)?),
    }
}

/// Reads a duration that must be at least `least`.
pub(crate) fn duration_from(least: Duration, text: &str) -> Result<Duration, InvalidDuration> {
    let duration = duration(text)?;
    if duration < least {
        return Err(InvalidDuration::TooShort(least));
    }
    Ok(duration)
}
