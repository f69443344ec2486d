//! What Rust's test runner writes, read line by line, and the line of a test that skipped itself.

use std::collections::BTreeMap;

use super::counts::Counts;

/// At most so many tests that failed are run once more: what goes wrong by accident goes wrong
/// seldom. init.sh of the test machines has the same number.
pub const MAX_REPEATED: usize = 3;

/// The output of one test program.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TestOutput {
    /// The tests that failed.
    pub failed: Vec<String>,
    /// Tests that failed and passed when they were run once more.
    pub flaky: Vec<String>,
    /// How many tests skipped themselves, by reason.
    pub skipped: BTreeMap<String, usize>,
    /// Tests that the runner found slow and that have not ended.
    pub running: Vec<String>,
    /// The whole text.
    pub text: String,
    /// Tests that the runner took for passed, by its totals.
    passed_in_total: usize,
    /// The same of tests whose total has not come yet.
    passed_since: usize,
}

impl TestOutput {
    /// Reads the next line.
    pub fn read(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        // The runner writes the beginning of the line before the test runs, where it runs one test
        // at a time.
        let (test, end) = match line.strip_prefix("test ") {
            Some(rest) => rest.rsplit_once(" ... ").unwrap_or((rest, "")),
            None => ("", line),
        };
        if let Some((_, reason)) = end
            .strip_prefix("skipped: ")
            .and_then(|skipped| skipped.split_once(": "))
        {
            *self.skipped.entry(reason.to_owned()).or_default() += 1;
        } else if let Some(total) = line.strip_prefix("test result: ") {
            self.passed_in_total += passed_in(total);
            self.passed_since = 0;
        } else if let Some((test, _)) = test.split_once(" has been running for ") {
            self.running.push(test.to_owned());
        } else if !test.is_empty() {
            match end {
                "ok" => self.passed_since += 1,
                "FAILED" => self.failed.push(test.to_owned()),
                _ => {}
            }
            self.running.retain(|running| running != test);
        }
    }

    /// Returns the number of tests by their result. The runner takes a test that skipped itself for
    /// one that passed.
    pub fn counts(&self) -> Counts {
        let skipped = self.skipped.values().sum();
        let passed = self.passed_in_total + self.passed_since;
        let flaky = self.flaky.len();
        Counts {
            passed: passed.saturating_sub(skipped) + flaky,
            failed: self.failed.len(),
            skipped,
            flaky,
        }
    }

    /// Returns whether the tests that failed are to be run once more.
    pub fn may_be_repeated(&self) -> bool {
        (1..=MAX_REPEATED).contains(&self.failed.len())
    }

    /// Takes in what came of the tests that failed when they were run once more. Only those count
    /// as flaky that ran to their end.
    pub fn add_repetition(&mut self, repeated: &Self) {
        let counts = repeated.counts();
        if counts.passed + counts.failed == self.failed.len() {
            let failed = |test: &String| repeated.failed.contains(test);
            let (failed, flaky) = self.failed.drain(..).partition(failed);
            self.failed = failed;
            self.flaky = flaky;
        }
    }

    /// Returns the messages of the tests that failed; all output where there is no such part.
    pub fn failures(&self) -> &str {
        let Some((_, behind)) = self.text.split_once("\nfailures:\n") else {
            return &self.text;
        };
        // The names follow once more.
        let messages = behind.rsplit_once("\nfailures:\n");
        messages
            .map_or(behind, |(messages, _)| messages)
            .trim_matches('\n')
    }
}

/// The number in `ok. 3 passed; 0 failed; 0 ignored; …`.
fn passed_in(total: &str) -> usize {
    let count = total
        .split_once(" passed;")
        .and_then(|(before, _)| before.rsplit(' ').next()?.parse().ok());
    count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> TestOutput {
        let mut output = TestOutput::default();
        text.lines().for_each(|line| output.read(line));
        output
    }

    #[test]
    fn a_test_that_skipped_itself_has_not_passed() {
        let output = read(
            "test four_way::ipv4 ... ok\nskipped: mariadb::a_client_quits: mariadbd is not installed\n\
             test mariadb::a_client_quits ... ok\n",
        );
        assert_eq!((output.counts().passed, output.counts().skipped), (1, 1));
        assert_eq!(
            output.skipped,
            BTreeMap::from([("mariadbd is not installed".to_owned(), 1)])
        );
    }

    #[test]
    fn one_that_runs_alone_may_skip_itself_in_the_middle_of_the_runners_line() {
        let output = read(
            "running 2 tests\ntest a::b ... ok\ntest a::c ... skipped: a::c: ss is not installed\nok\n\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
        );
        assert_eq!((output.counts().passed, output.counts().skipped), (1, 1));
    }

    #[test]
    fn the_totals_of_several_programs_are_added_up() {
        let output = read(
            "test a ... ok\ntest result: ok. 1 passed; 0 failed; 0 ignored\n\
             test b ... ok\ntest c ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n",
        );
        assert_eq!((output.counts().passed, output.counts().failed), (2, 1));
    }

    #[test]
    fn a_slow_test_is_running_until_its_result_comes() {
        let mut output = read("test slow::one has been running for over 60 seconds\n");
        assert_eq!(output.running, ["slow::one"]);
        output.read("test slow::one ... ok");
        assert!(output.running.is_empty());
    }

    #[test]
    fn a_test_that_passes_when_it_is_run_once_more_is_flaky() {
        let first = read("test a ... ok\ntest b ... FAILED\ntest c ... FAILED\n");
        assert!(first.may_be_repeated());
        let mut output = first;
        output.add_repetition(&read("test b ... ok\ntest c ... FAILED\n"));
        let Counts {
            passed,
            failed,
            flaky,
            ..
        } = output.counts();
        assert_eq!((passed, failed, flaky), (2, 1, 1));
        assert_eq!(
            (&*output.failed, &*output.flaky),
            (&["c".to_owned()][..], &["b".to_owned()][..])
        );
    }

    #[test]
    fn a_test_that_does_not_end_the_second_time_has_failed() {
        let mut output = read("test a ... FAILED\n");
        output.add_repetition(&read("test a has been running for over 60 seconds\n"));
        assert_eq!((output.counts().failed, output.counts().flaky), (1, 0));
    }

    #[test]
    fn where_many_tests_fail_none_is_run_once_more() {
        let output = read(&"test a ... FAILED\n".repeat(MAX_REPEATED + 1));
        assert!(!output.may_be_repeated());
        assert!(!read("test a ... ok\n").may_be_repeated());
    }

    #[test]
    fn the_messages_of_failed_tests_are_found() {
        let output = read(
            "test a::b ... FAILED\n\nfailures:\n\n---- a::b stdout ----\nno cookie\n\n\nfailures:\n    a::b\n\n\
             test result: FAILED. 1 passed; 1 failed\n",
        );
        assert_eq!(output.failures(), "---- a::b stdout ----\nno cookie");
        assert_eq!(read("error: refused\n").failures(), "error: refused\n");
    }
}
