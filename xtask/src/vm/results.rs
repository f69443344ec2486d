//! The output of a test machine. init.sh marks where each program begins and ends; between the
//! marks is the output of Rust's test runner, and of tests that skipped themselves.

use std::collections::BTreeMap;

use crate::test_runner::{Counts, TestOutput};

/// The mark in front of init.sh's own lines.
const LINE_MARK: &str = "@@ ";

/// The parsed output of a machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// The kernel's full version, once it has booted.
    pub kernel: Option<String>,
    /// Its programs, in the order in which they ran.
    pub programs: Vec<Program>,
    /// Whether it came to its last line.
    pub finished: bool,
}

/// The output of one program.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The name of its file.
    pub name: String,
    /// Its exit code, once it has ended.
    pub code: Option<i32>,
    /// What it has written.
    pub output: TestOutput,
}

impl Results {
    /// Reads them, also when the machine was stopped on the way.
    pub fn parse(text: &str) -> Self {
        let mut results = Self::default();
        let mut program: Option<Program> = None;
        for line in text.lines() {
            let line = line.trim_end_matches('\r');
            let Some(reported) = line.strip_prefix(LINE_MARK) else {
                if let Some(program) = &mut program {
                    program.output.read(line);
                }
                continue;
            };
            match reported.split_once(' ').unwrap_or((reported, "")) {
                ("kernel", version) => results.kernel = Some(version.to_owned()),
                ("begin", name) => {
                    results.programs.extend(program.replace(Program::new(name)));
                }
                ("end", ended) => {
                    let code = ended.rsplit(' ').next().and_then(|code| code.parse().ok());
                    if let Some(mut program) = program.take() {
                        program.code = code;
                        results.add(program);
                    }
                }
                ("finished", _) => results.finished = true,
                _ => {}
            }
        }
        results.programs.extend(program);
        results
    }

    /// Adds what came of a program; of one that ran once more with the tests that had failed, to
    /// what came of it at first.
    fn add(&mut self, program: Program) {
        match self.programs.last_mut() {
            Some(first) if first.name == program.name => {
                first.output.add_repetition(&program.output);
                first.code = program.code;
            }
            _ => self.programs.push(program),
        }
    }

    /// Returns whether everything ran to its end and nothing failed.
    pub fn are_good(&self) -> bool {
        self.finished && self.programs.iter().all(|program| program.code == Some(0))
    }

    /// The number of tests by their result.
    pub fn counts(&self) -> Counts {
        let programs = self.programs.iter();
        let counts = programs.map(|program| program.output.counts());
        counts.sum()
    }

    /// Names of the tests that failed, each behind its program's.
    pub fn failed(&self) -> impl Iterator<Item = String> {
        self.programs.iter().flat_map(|program| {
            let failed = program.output.failed.iter();
            failed.map(|test| format!("{}: {test}", program.name))
        })
    }

    /// Names of the tests that passed at the second attempt only.
    pub fn flaky(&self) -> impl Iterator<Item = &str> {
        let programs = self.programs.iter();
        programs
            .flat_map(|program| &program.output.flaky)
            .map(String::as_str)
    }

    /// How many tests skipped themselves, by reason.
    pub fn skipped(&self) -> BTreeMap<&str, usize> {
        let mut skipped = BTreeMap::new();
        let programs = self.programs.iter();
        for (reason, count) in programs.flat_map(|program| &program.output.skipped) {
            *skipped.entry(reason.as_str()).or_default() += count;
        }
        skipped
    }
}

impl Program {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "@@ kernel 6.1.0-50-cloud-amd64\r\n@@ begin doctor\r\nLinux 6.1\r\n@@ end doctor 0\r\n\
        @@ begin integration\r\n\r\nrunning 3 tests\r\n\
        test four_way::ipv4 ... ok\r\n\
        skipped: mariadb::a_client_quits: mariadbd is not installed\r\n\
        test mariadb::a_client_quits ... ok\r\n\
        test slow::one has been running for over 60 seconds\r\n\
        test slow::one ... ok\r\n\r\n\
        test result: ok. 3 passed; 0 failed; 0 ignored\r\n\
        @@ end integration 0\r\n@@ finished\r\n";

    #[test]
    fn a_test_that_skipped_itself_has_not_passed() {
        let results = Results::parse(GOOD);
        assert!(results.are_good());
        assert_eq!(results.kernel.as_deref(), Some("6.1.0-50-cloud-amd64"));
        assert_eq!(results.counts().passed, 2);
        assert_eq!(results.failed().count(), 0);
        assert_eq!(
            results.skipped(),
            BTreeMap::from([("mariadbd is not installed", 1)])
        );
        assert!(results.programs[1].output.running.is_empty());
    }

    #[test]
    fn failures_are_named_and_reported() {
        let results = Results::parse(
            "@@ kernel 5.10\n@@ begin sock_diag\ntest a::b ... FAILED\ntest a::c ... ok\n\nfailures:\n\n\
             ---- a::b stdout ----\nno cookie\n\n\nfailures:\n    a::b\n\ntest result: FAILED. 1 passed; 1 failed\n\n\
             @@ end sock_diag 101\n@@ finished\n",
        );
        assert!(!results.are_good());
        assert_eq!(results.failed().collect::<Vec<_>>(), ["sock_diag: a::b"]);
        assert_eq!(results.counts().passed, 1);
        assert_eq!(
            results.programs[0].output.failures(),
            "---- a::b stdout ----\nno cookie"
        );
    }

    #[test]
    fn a_test_that_passes_the_second_time_is_flaky() {
        let results = Results::parse(
            "@@ kernel 6.1\n@@ begin leaks\ntest a ... ok\ntest b ... FAILED\n@@ end leaks 101\n\
             @@ begin leaks\ntest b ... ok\n@@ end leaks 0\n@@ finished\n",
        );
        assert!(results.are_good());
        assert_eq!(results.flaky().collect::<Vec<_>>(), ["b"]);
        assert_eq!((results.counts().passed, results.counts().flaky), (2, 1));
    }

    #[test]
    fn a_machine_that_was_stopped_has_not_finished_and_shows_what_ran() {
        let (cut, _) = GOOD.split_once("test slow::one ... ok").unwrap();
        let results = Results::parse(cut);
        assert!(!results.are_good());
        assert!(!results.finished);
        assert_eq!(results.programs[1].code, None);
        assert_eq!(results.programs[1].output.running, ["slow::one"]);
        assert_eq!(results.counts().passed, 1);
    }

    #[test]
    fn a_program_that_fails_without_test_output_is_a_failure() {
        let results = Results::parse(
            "@@ kernel 5.10\n@@ begin doctor\nerror: refused\n@@ end doctor 2\n@@ finished\n",
        );
        assert!(!results.are_good());
        assert_eq!(results.programs[0].code, Some(2));
        assert_eq!(results.programs[0].output.failures(), "error: refused\n");
    }

    #[test]
    fn a_kernel_that_never_started_anything_has_no_results() {
        assert_eq!(Results::parse(""), Results::default());
        assert!(!Results::default().are_good());
    }
}
