//! How many tests passed, failed and skipped themselves.

use std::{fmt, iter::Sum, ops::AddAssign};

/// The result of tests, or of checks, each of which counts as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that ran and passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
    /// Tests that found something missing and skipped themselves.
    pub skipped: usize,
    /// Those of the passed ones that failed at first, and passed when they were run once more.
    pub flaky: usize,
}

impl Counts {
    /// One check.
    pub fn from_check(is_good: bool) -> Self {
        Self {
            passed: usize::from(is_good),
            failed: usize::from(!is_good),
            ..Self::default()
        }
    }

    /// One check that could not be made.
    pub fn skipped_check() -> Self {
        Self {
            skipped: 1,
            ..Self::default()
        }
    }

    /// Reads what `Display` has written, alone on a line.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.trim_end().split(", ");
        let mut number = |word: &str| parts.next()?.strip_suffix(word)?.parse().ok();
        let counts = Self {
            passed: number(" passed")?,
            failed: number(" failed")?,
            skipped: number(" skipped")?,
            flaky: 0,
        };
        let counts = match parts.next() {
            Some(flaky) => Self {
                flaky: flaky.strip_suffix(" flaky")?.parse().ok()?,
                ..counts
            },
            None => counts,
        };
        parts.next().is_none().then_some(counts)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.flaky += other.flaky;
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), |mut sum, counts| {
            sum += counts;
            sum
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
            flaky,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")?;
        match flaky {
            0 => Ok(()),
            flaky => write!(f, ", {flaky} flaky"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let counts = Counts {
            passed: 12,
            failed: 0,
            skipped: 3,
            flaky: 0,
        };
        assert_eq!(counts.to_string(), "12 passed, 0 failed, 3 skipped");
        assert_eq!(
            Counts::parse("12 passed, 0 failed, 3 skipped\n"),
            Some(counts)
        );
        let counts = Counts { flaky: 2, ..counts };
        let line = "12 passed, 0 failed, 3 skipped, 2 flaky";
        assert_eq!(counts.to_string(), line);
        assert_eq!(Counts::parse(line), Some(counts));
    }

    #[test]
    fn other_lines_are_not_counts() {
        for line in [
            "",
            "12 passed",
            "12 passed, 0 failed, 3 skipped, 1 s",
            "6.1: 12 passed, 0 failed, 3 skipped",
            "test result: ok. 3 passed; 0 failed; 0 ignored",
        ] {
            assert_eq!(Counts::parse(line), None, "{line}");
        }
    }
}
