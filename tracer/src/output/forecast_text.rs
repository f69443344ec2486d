//! A forecast in words.

use std::fmt::Write as _;

use super::duration::push_with_unit;
use tcpclose_core::stuck::Forecast;
use tcpclose_core::types::Nanos;

/// Appends the growth, the time until the last file descriptor is taken, and the basis of both.
pub(super) fn push_forecast(text: &mut String, forecast: &Forecast) {
    push_growth(text, forecast);
    let fit = &forecast.fit;
    let _ = write!(text, " (linear fit of {} samples in ", fit.samples);
    push_with_unit(text, fit.span);
    let _ = write!(text, ", R² {:.2})", fit.r_squared);
}

/// Appends the growth, and the time until the last file descriptor is taken.
pub(super) fn push_growth(text: &mut String, forecast: &Forecast) {
    let Forecast { fit, exhausted_in } = forecast;
    let (word, rate) = if fit.per_second < 0.0 {
        ("falls", -fit.per_second)
    } else {
        ("grows", fit.per_second)
    };
    let _ = match rate {
        0.0 => write!(text, "does not grow"),
        rate if rate >= 1.0 => write!(text, "{word} by {rate:.1}/s"),
        rate => write!(text, "{word} by {:.1}/min", rate * 60.0),
    };
    match exhausted_in {
        None => {}
        Some(Nanos(0)) => text.push_str(", out of file descriptors"),
        Some(left) => {
            text.push_str(", out of file descriptors in about ");
            push_with_unit(text, *left);
        }
    }
}
