//! What a query has found against what was planted.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::engine::Row;

/// Things and how often each.
pub type Things = BTreeMap<String, u64>;

/// The comparison for one query.
pub struct Found {
    name: String,
    planted: Things,
    found: Things,
}

impl Found {
    /// Takes the rows of a query: `key` names the columns that name a thing, `number` the one that
    /// says how often.
    pub fn new(name: &str, planted: &Value, rows: &[Row], key: &[&str], number: &str) -> Self {
        let mut found = Things::new();
        for row in rows {
            let thing: Vec<String> = key.iter().map(|column| text(&row[*column])).collect();
            *found.entry(thing.join(" ")).or_default() += count(&row[number]);
        }
        let planted = planted.as_object().expect("things by name").iter();
        Self {
            name: name.to_owned(),
            planted: planted
                .map(|(thing, times)| (thing.clone(), count(times)))
                .collect(),
            found,
        }
    }

    /// The share of what was found that was planted.
    pub fn precision(&self) -> f64 {
        share(self.in_both(), self.found.len())
    }

    /// The share of what was planted that was found.
    pub fn recall(&self) -> f64 {
        share(self.in_both(), self.planted.len())
    }

    /// Whether everything was found as often as it was planted.
    pub fn is_exact(&self) -> bool {
        self.planted == self.found
    }

    fn in_both(&self) -> usize {
        self.planted
            .keys()
            .filter(|thing| self.found.contains_key(*thing))
            .count()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |things: &Things| things.values().sum::<u64>();
        write!(
            f,
            "{:18} planted {} ({} times), found {} ({} times): precision {:.2}, recall {:.2}",
            self.name,
            self.planted.len(),
            sum(&self.planted),
            self.found.len(),
            sum(&self.found),
            self.precision(),
            self.recall(),
        )?;
        if self.precision() < 1.0 || self.recall() < 1.0 {
            write!(
                f,
                "\n  planted {:?}\n  found {:?}",
                self.planted, self.found
            )?;
        }
        Ok(())
    }
}

fn share(part: usize, whole: usize) -> f64 {
    match whole {
        0 => 1.0,
        _ => part as f64 / whole as f64,
    }
}

/// ClickHouse writes numbers of 64 bits as text.
pub fn count(value: &Value) -> u64 {
    let text = value.as_str().and_then(|text| text.parse().ok());
    let number = value.as_f64().map(|number| number.round() as u64);
    text.or(number)
        .unwrap_or_else(|| panic!("no number: {value}"))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
