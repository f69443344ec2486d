//! Times, as operators write them.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// The longest time that can be asked for: more is a slip.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A time with its unit, or a number without one: a frequent slip.
#[derive(Deserialize)]
#[serde(untagged)]
enum Time {
    Words(String),
    Number(i64),
}

/// Reads a time with its unit, and says what is wrong with one.
///
/// # Errors
/// It is none.
pub fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let words = match Time::deserialize(deserializer) {
        Ok(Time::Words(words)) => words,
        Ok(Time::Number(number)) => {
            let problem =
                format!("a duration needs a unit: write \"{number}s\" for {number} seconds");
            return Err(de::Error::custom(problem));
        }
        Err(_) => {
            return Err(de::Error::custom(
                "a duration is written like \"30s\" or \"5m\"",
            ));
        }
    };
    let duration = humantime::parse_duration(&words).map_err(|error| {
        de::Error::custom(format!(
            "`{words}` is not a duration; write it like \"30s\" or \"5m\": {error}"
        ))
    })?;
    if duration > LONGEST {
        return Err(de::Error::custom("a duration is at most \"1day\""));
    }
    Ok(duration)
}
