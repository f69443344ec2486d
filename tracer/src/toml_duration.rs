//! Durations in the configuration.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// The longest duration. Longer ones are most likely mistakes.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// A duration with its unit, or a number without one, which is a frequent mistake.
#[derive(Deserialize)]
#[serde(untagged)]
enum TomlDuration {
    WithUnit(String),
    Number(i64),
}

/// Reads a duration with its unit, such as `30s`.
///
/// # Errors
/// The value is not a duration, or it is longer than a day.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = match TomlDuration::deserialize(deserializer) {
        Ok(TomlDuration::WithUnit(text)) => text,
        Ok(TomlDuration::Number(number @ 0..)) => {
            let problem =
                format!("a duration needs a unit: write \"{number}s\" for {number} seconds");
            return Err(de::Error::custom(problem));
        }
        Ok(TomlDuration::Number(_)) | Err(_) => {
            return Err(de::Error::custom(
                "a duration is written like \"30s\" or \"5m\"",
            ));
        }
    };
    let duration = humantime::parse_duration(&text).map_err(|error| {
        de::Error::custom(format!(
            "`{text}` is not a duration; write it like \"30s\" or \"5m\": {error}"
        ))
    })?;
    if duration > MAX_DURATION {
        return Err(de::Error::custom("a duration is at most \"1day\""));
    }
    Ok(duration)
}
