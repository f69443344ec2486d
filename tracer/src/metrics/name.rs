//! Derives Prometheus' names from OpenTelemetry's by the rule of OpenTelemetry's specification
//! ("Prometheus and OpenMetrics Compatibility"). Collectors follow it too, so queries are the same
//! for scraped metrics and for those that came over OTLP.

use super::metric::{Instrument, Metric};

impl Metric {
    /// Returns the name in Prometheus: dots become underscores, and the unit and `total` for
    /// counters are appended.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let mut name = self.name.replace('.', "_");
        let mut append = |word: &str| {
            if !word.is_empty() && !name.ends_with(&format!("_{word}")) {
                name.push('_');
                name.push_str(word);
            }
        };
        match self.unit {
            "1" if matches!(self.instrument, Instrument::Gauge(_)) => append("ratio"),
            "1" => {}
            unit => append(&unit_word(unit)),
        }
        if self.is_counter() {
            append("total");
        }
        name
    }
}

/// Returns the name of a label in Prometheus.
#[must_use]
pub fn prometheus_label(name: &str) -> String {
    name.replace('.', "_")
}

/// Returns a unit as Prometheus' names have it: `seconds`, `per_second`. Text in braces is dropped.
fn unit_word(unit: &str) -> String {
    let mut plain = unit.to_owned();
    while let Some((before, rest)) = plain.split_once('{')
        && let Some((_, after)) = rest.split_once('}')
    {
        plain = format!("{before}{after}");
    }
    match plain.split_once('/') {
        None => plural(&plain).to_owned(),
        Some(("", per)) => format!("per_{}", singular(per)),
        Some((of, per)) => format!("{}_per_{}", plural(of), singular(per)),
    }
}

fn plural(unit: &str) -> &str {
    match unit {
        "s" => "seconds",
        "By" => "bytes",
        unit => unit,
    }
}

fn singular(unit: &str) -> &str {
    match unit {
        "s" => "second",
        unit => unit,
    }
}
