//! A forecast in words.

use std::fmt::Write as _;

use super::duration::push_with_unit;
use tcpclose_core::stuck::Forecast;
use tcpclose_core::types::Nanos;

/// Appends how fast it grows, when that takes the last descriptor, and what this is made of.
pub(super) fn push_forecast(text: &mut String, forecast: &Forecast) {
    let Forecast { fit, exhausted_in } = forecast;
    let (word, rate) = if fit.per_second < 0.0 {
        ("falls", -fit.per_second)
    } else {
        ("grows", fit.per_second)
    };
    let _ = match rate {
        0.0 => write!(text, "does not grow"),
        rate if rate >= 1.0 => write!(text, "{word} by {rate:.1} a second"),
        rate => write!(text, "{word} by {:.1} a minute", rate * 60.0),
    };
    match exhausted_in {
        None => {}
        Some(Nanos(0)) => text.push_str(", no descriptors left"),
        Some(left) => {
            text.push_str(", no descriptors left in ");
            push_with_unit(text, *left);
        }
    }
    let _ = write!(text, " (straight line through {} looks in ", fit.samples);
    push_with_unit(text, fit.span);
    let _ = write!(text, ", R² {:.2})", fit.r_squared);
}
