//! The report about the tests on one kernel.

use std::{fmt, path::Path, time::Duration};

use super::{
    qemu::{Ending, TIME_LIMIT},
    results::Results,
};

/// The tests of one kernel, when its machine has ended.
pub struct Report<'a> {
    /// What the user calls the kernel: "6.1"
    pub name: &'a str,
    /// How the machine ended.
    pub ending: &'a Ending,
    /// The results that it wrote.
    pub results: &'a Results,
    /// How long it took.
    pub time: Duration,
    /// Where its files are.
    pub directory: &'a Path,
}

impl Report<'_> {
    /// Returns whether everything ran and nothing failed.
    pub fn is_good(&self) -> bool {
        *self.ending == Ending::Off && self.results.are_good()
    }

    /// The messages of the programs that failed, also at first only, shortened: the whole is in the
    /// results' log.
    pub fn details(&self) -> String {
        let programs = self.results.programs.iter();
        let failed =
            programs.filter(|program| program.code != Some(0) || !program.output.flaky.is_empty());
        failed
            .map(|program| {
                let (kernel, name) = (self.name, &program.name);
                format!(
                    "==== {kernel}: {name} ====\n{}",
                    shortened(program.output.failures())
                )
            })
            .collect()
    }

    /// Why results are missing, if they are.
    fn trouble(&self) -> Option<String> {
        let directory = self.directory.display();
        if self.results.kernel.is_none() {
            return Some(format!(
                "did not start: see {directory}/console.log and qemu.log"
            ));
        }
        let ended = match self.ending {
            Ending::Off if self.results.finished => return self.code(),
            Ending::Off => "its kernel stopped before the tests' end".to_owned(),
            Ending::TimeLimit => format!("switched off after {} s", TIME_LIMIT.as_secs()),
            Ending::Failed(status) => format!("qemu failed ({status})"),
        };
        let last = self.results.programs.last();
        let doing = last
            .filter(|program| program.code.is_none())
            .map(|program| match program.output.running.as_slice() {
                [] => format!(" during {}", program.name),
                running => format!(" during {}: {}", program.name, running.join(", ")),
            });
        let doing = doing.unwrap_or_default();
        Some(format!(
            "{ended}{doing}: see {directory}/results.log and console.log"
        ))
    }

    /// Programs that failed though no test did.
    fn code(&self) -> Option<String> {
        let failed = self
            .results
            .programs
            .iter()
            .filter(|program| program.code != Some(0) && program.output.failed.is_empty());
        let reported: Vec<_> = failed
            .map(|program| match program.code {
                Some(code) => format!("{} ended with code {code}", program.name),
                None => format!("{} did not end", program.name),
            })
            .collect();
        (!reported.is_empty()).then(|| reported.join(", "))
    }
}

/// The first lines of each test's part, and of each line what fits some lines of a terminal. A test
/// that failed may have written thousands of long ones.
fn shortened(failures: &str) -> String {
    const MAX_LINES: usize = 20;
    const MAX_CHARACTERS: usize = 400;
    let mut short = String::new();
    let mut lines = 0;
    for line in failures.lines() {
        // Where the runner begins with the next test.
        if line.starts_with("---- ") {
            lines = 0;
        }
        lines += 1;
        if lines > MAX_LINES {
            continue;
        }
        let end = line.char_indices().nth(MAX_CHARACTERS);
        match end {
            Some((end, _)) => short.extend([&line[..end], "…\n"]),
            None => short.extend([line, "\n"]),
        }
        if lines == MAX_LINES {
            short.push_str("…\n");
        }
    }
    short
}

/// "6.1 (6.1.0-50-cloud-amd64): 58 passed, 0 failed, 3 skipped (3: tcpdump is not installed), 61 s"
impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.results;
        write!(f, "{}", self.name)?;
        if let Some(kernel) = &results.kernel {
            let failed: Vec<_> = results.failed().collect();
            write!(
                f,
                " ({kernel}): {} passed, {} failed",
                results.counts().passed,
                failed.len()
            )?;
            let skipped = results.skipped();
            write!(f, ", {} skipped", skipped.values().sum::<usize>())?;
            let reasons: Vec<_> = skipped
                .iter()
                .map(|(reason, count)| format!("{count}: {reason}"))
                .collect();
            if !reasons.is_empty() {
                write!(f, " ({})", reasons.join("; "))?;
            }
            write!(f, ", {} s", self.time.as_secs())?;
            for test in failed {
                write!(f, "\n    failed: {test}")?;
            }
            for test in results.flaky() {
                write!(f, "\n    failed at first: {test}")?;
            }
        }
        match self.trouble() {
            Some(trouble) if results.kernel.is_none() => write!(f, ": {trouble}"),
            Some(trouble) => write!(f, "\n    {trouble}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ending: &Ending, text: &str) -> (String, bool) {
        let results = Results::parse(text);
        let report = Report {
            name: "6.1",
            ending,
            results: &results,
            time: Duration::from_millis(61_500),
            directory: Path::new("/vm/6.1"),
        };
        (report.to_string(), report.is_good())
    }

    #[test]
    fn a_failed_test_shows_its_first_lines() {
        let long = format!(
            "---- a ----\n{}---- b ----\n{}\n",
            "more\n".repeat(1000),
            "ä".repeat(1000)
        );
        let short = shortened(&long);
        assert!(short.contains("---- a ----\nmore\n") && short.contains("\n---- b ----\nä"));
        assert!(short.lines().count() < 30);
        assert!(short.ends_with("ä…\n"));
        assert_eq!(shortened("one\n"), "one\n");
    }

    #[test]
    fn a_good_kernel_is_one_line() {
        let text = "@@ kernel 6.1.0-50\n@@ begin t\ntest a ... ok\nskipped: b: ss is not installed\ntest b ... ok\n\
                    @@ end t 0\n@@ finished\n";
        let line = "6.1 (6.1.0-50): 1 passed, 0 failed, 1 skipped (1: ss is not installed), 61 s";
        assert_eq!(shown(&Ending::Off, text), (line.to_owned(), true));
    }

    #[test]
    fn failed_tests_are_named() {
        let text = "@@ kernel 6.1.0-50\n@@ begin t\ntest a ... FAILED\n@@ end t 101\n@@ finished\n";
        let lines = "6.1 (6.1.0-50): 0 passed, 1 failed, 0 skipped, 61 s\n    failed: t: a";
        assert_eq!(shown(&Ending::Off, text), (lines.to_owned(), false));
    }

    #[test]
    fn a_hung_machine_names_its_last_test() {
        let text = "@@ kernel 6.1.0-50\n@@ begin t\ntest a has been running for over 60 seconds\n";
        let (lines, good) = shown(&Ending::TimeLimit, text);
        assert!(
            lines.contains("switched off after 1800 s during t: a: see /vm/6.1/results.log"),
            "{lines}"
        );
        assert!(!good);
        let (lines, _) = shown(&Ending::Off, text);
        assert!(
            lines.contains("its kernel stopped before the tests' end during t: a"),
            "{lines}"
        );
    }

    #[test]
    fn a_kernel_that_does_not_boot_names_its_logs() {
        let (line, good) = shown(&Ending::Off, "");
        assert_eq!(
            line,
            "6.1: did not start: see /vm/6.1/console.log and qemu.log"
        );
        assert!(!good);
    }

    #[test]
    fn a_refused_program_is_reported_with_its_code() {
        let text = "@@ kernel 6.1.0-50\n@@ begin doctor\nerror: no\n@@ end doctor 2\n@@ finished\n";
        let (lines, good) = shown(&Ending::Off, text);
        assert!(lines.ends_with("\n    doctor ended with code 2"), "{lines}");
        assert!(!good);
    }
}
