//! A forecast in words.

use std::fmt::Write as _;

use super::duration::push_with_unit;
use tcpclose_core::stuck::{Fit, Forecast};
use tcpclose_core::types::Nanos;

/// Appends the growth, the time until the last file descriptor is taken, and the basis of that.
pub(super) fn push_forecast(text: &mut String, forecast: &Forecast) {
    push_growth(text, forecast);
    let basis = forecast.open.as_ref().unwrap_or(&forecast.fit);
    let _ = write!(text, " (linear fit of {} samples in ", basis.samples);
    push_with_unit(text, basis.span);
    let _ = write!(text, ", R² {:.2})", basis.r_squared);
}

/// Appends the growth, and the time until the last file descriptor is taken. That comes from the
/// growth of the process's open files where these are named.
pub(super) fn push_growth(text: &mut String, forecast: &Forecast) {
    let Forecast {
        fit,
        open,
        exhausted_in,
    } = forecast;
    if fit.is_significant() || open.is_none() {
        push_rate(text, fit, ["falls", "grows"]);
    }
    if let Some(open) = open {
        if fit.is_significant() {
            text.push_str("; ");
        }
        text.push_str("open files ");
        push_rate(text, open, ["fall", "grow"]);
    }
    match exhausted_in {
        None => {}
        Some(Nanos(0)) => text.push_str(", out of file descriptors"),
        Some(left) => {
            text.push_str(", out of file descriptors in about ");
            push_with_unit(text, *left);
        }
    }
}

/// Appends a rate, after the word for a negative or a positive one.
fn push_rate(text: &mut String, fit: &Fit, [falls, grows]: [&str; 2]) {
    let (word, rate) = if fit.per_second < 0.0 {
        (falls, -fit.per_second)
    } else {
        (grows, fit.per_second)
    };
    let _ = match rate {
        0.0 => write!(text, "does not grow"),
        rate if rate >= 1.0 => write!(text, "{word} by {rate:.1}/s"),
        rate => write!(text, "{word} by {:.1}/min", rate * 60.0),
    };
}
