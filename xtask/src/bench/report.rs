//! The table of what was measured.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One thing that was measured, some times.
#[derive(Serialize, Deserialize)]
pub struct Row {
    /// Which measurement it belongs to: its letter in the demands.
    pub part: char,
    /// What it is.
    pub what: String,
    /// Its unit.
    pub unit: String,
    /// The values, in order of the rounds.
    pub values: Vec<f64>,
    /// What is demanded of it, in words, and whether the median meets it.
    pub demand: Option<(String, bool)>,
}

impl Row {
    /// A row without a demand.
    pub fn new(part: char, what: impl Into<String>, unit: &str, values: Vec<f64>) -> Self {
        Self {
            part,
            what: what.into(),
            unit: unit.to_owned(),
            values,
            demand: None,
        }
    }

    /// The same with a demand.
    pub fn demands(mut self, words: &str, meets: impl Fn(f64) -> bool) -> Self {
        self.demand = Some((words.to_owned(), meets(self.median())));
        self
    }

    /// Those that [`write()`] has left.
    pub fn all_from_json(text: &[u8]) -> Result<Vec<Self>> {
        let mut all: Value = serde_json::from_slice(text)?;
        Ok(serde_json::from_value(all["rows"].take())?)
    }

    /// The middle value.
    pub fn median(&self) -> f64 {
        let mut sorted = self.values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    fn least(&self) -> f64 {
        self.values.iter().copied().fold(f64::INFINITY, f64::min)
    }

    fn most(&self) -> f64 {
        self.values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max)
    }
}

/// The ratios of the values of two rows that were measured next to each other.
pub fn ratios(one: &Row, other: &Row) -> Vec<f64> {
    let pairs = one.values.iter().zip(&other.values);
    pairs.map(|(one, other)| one / other).collect()
}

/// The machine and its kernel, in one line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |line| {
            line.trim_start_matches([' ', '\t', ':'])
        });
    let count = cpus
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let memory = read("/proc/meminfo");
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|line| line.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    format!(
        "{count} × {model}, {:.0} GiB, Linux {}",
        kib as f64 / 1_048_576.0,
        tcpclose_kit::kernel::kernel_release()
    )
}

/// The table in Markdown.
pub fn table(rows: &[Row], rounds: usize) -> String {
    let mut table = format!(
        "{}; {rounds} rounds, in turns\n\n\
         | | what | unit | min | median | max | demand | |\n\
         |---|---|---|--:|--:|--:|---|---|\n",
        machine()
    );
    for row in rows {
        let (demand, met) = match &row.demand {
            Some((words, true)) => (words.as_str(), "met"),
            Some((words, false)) => (words.as_str(), "**not met**"),
            None => ("", ""),
        };
        table.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {demand} | {met} |\n",
            row.part,
            row.what,
            row.unit,
            short(row.least()),
            short(row.median()),
            short(row.most()),
        ));
    }
    table
}

/// Writes all values as JSON.
pub fn write(rows: &[Row], sizes: &[impl Serialize], rounds: usize, file: &Path) -> Result<()> {
    let all = json!({
        "machine": machine(),
        "rounds": rounds,
        "rows": rows,
        "live_endpoints": sizes,
    });
    fs::write(file, serde_json::to_vec_pretty(&all)?)
        .with_context(|| format!("cannot write {}", file.display()))
}

/// Four digits.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        value if value >= 1000.0 || value == 0.0 => 0,
        value if value >= 100.0 => 1,
        value if value >= 10.0 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::{Row, ratios, short};

    #[test]
    fn the_median_is_the_one_in_the_middle_and_pairs_stay_together() {
        let one = Row::new('a', "one", "s", vec![3.0, 1.0, 20.0]);
        let other = Row::new('a', "other", "s", vec![1.0, 2.0, 4.0]);
        assert_eq!(one.median(), 3.0);
        assert_eq!(ratios(&one, &other), [3.0, 0.5, 5.0]);
        assert!(
            one.demands("at most 3", |value| value <= 3.0)
                .demand
                .unwrap()
                .1
        );
    }

    #[test]
    fn numbers_have_about_four_digits() {
        assert_eq!(short(12_345.6), "12346");
        assert_eq!(short(0.123_456), "0.1235");
        assert_eq!(short(12.345), "12.35");
    }
}
