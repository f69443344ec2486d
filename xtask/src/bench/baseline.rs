//! The numbers that are kept in the repository, to compare with.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// How much more than the kept number is accepted, as a fraction.
const MAX_INCREASE: f64 = 0.2;

/// What was measured and is kept: `testing/bench/kept/baseline.json`.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Of rustc, which decides about the instructions.
    pub rustc: String,
    /// Of valgrind, which counts them.
    pub valgrind: String,
    /// By what they are of; fewer are better.
    pub numbers: BTreeMap<String, f64>,
}

impl Baseline {
    /// The kept one.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read(file).with_context(|| {
            format!(
                "cannot read {}: `cargo xtask bench --check --keep` makes it",
                file.display()
            )
        })?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not as expected", file.display()))
    }

    /// Keeps this one.
    pub fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// What is wrong with numbers measured now, in a sentence each.
    pub fn compare(&self, now: &Self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (what, value) in &now.numbers {
            let Some(kept) = self.numbers.get(what) else {
                wrong.push(format!("{what}: {value:.1}, and there is no kept number"));
                continue;
            };
            // NaN is no number to be content with.
            if value.is_nan() || *value > kept * (1.0 + MAX_INCREASE) {
                wrong.push(format!(
                    "{what}: {value:.1}, {:.0} % more than the kept {kept:.1}",
                    (value / kept - 1.0) * 100.0
                ));
            }
        }
        let compilers = [
            ("rustc", &self.rustc, &now.rustc),
            ("valgrind", &self.valgrind, &now.valgrind),
        ];
        if !wrong.is_empty() {
            let others = compilers.iter().filter(|(_, kept, now)| kept != now);
            wrong.extend(others.map(|(name, kept, now)| {
                format!("the kept numbers are of {name} {kept}, these of {now}: that may be why")
            }));
        }
        wrong
    }

    /// What is kept and was not measured now, in a sentence each.
    pub fn missing(&self, now: &Self) -> Vec<String> {
        let kept = self.numbers.keys();
        kept.filter(|what| !now.numbers.contains_key(*what))
            .map(|what| format!("{what}: was not measured, and there is a kept number"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(rustc: &str, numbers: &[(&str, f64)]) -> Baseline {
        let numbers = numbers.iter().map(|(what, value)| ((*what).into(), *value));
        Baseline {
            rustc: rustc.into(),
            numbers: numbers.collect(),
            ..Baseline::default()
        }
    }

    #[test]
    fn a_fifth_more_is_tolerated_and_anything_less_is_fine() {
        let kept = baseline("1", &[("a", 100.0), ("b", 100.0)]);
        let now = baseline("1", &[("a", 119.0), ("b", 20.0)]);
        assert!(kept.compare(&now).is_empty());
    }

    #[test]
    fn more_is_wrong_and_another_compiler_is_named() {
        let kept = baseline("1", &[("a", 100.0)]);
        let wrong = kept.compare(&baseline("2", &[("a", 121.0)]));
        assert_eq!(wrong.len(), 2);
        assert!(wrong[0].contains("a: 121.0, 21 % more than the kept 100.0"));
        assert!(wrong[1].contains("rustc 1, these of 2"));
    }

    #[test]
    fn a_missing_or_non_numeric_value_is_an_error() {
        let kept = baseline("1", &[("a", 100.0), ("b", 100.0)]);
        let now = baseline("1", &[("a", f64::NAN)]);
        assert_eq!(kept.compare(&now).len(), 1);
        assert_eq!(kept.missing(&now).len(), 1);
        assert!(kept.missing(&kept).is_empty());
    }

    #[test]
    fn a_value_without_baseline_is_an_error() {
        let now = baseline("1", &[("new", 1.0)]);
        assert_eq!(baseline("1", &[]).compare(&now).len(), 1);
    }
}
