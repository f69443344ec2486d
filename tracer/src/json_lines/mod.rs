//! JSON lines that `tcpclose watch --json` or an agent has written, read again as findings.
//!
//! Strangers may have written them: a line takes bounded memory, and one that is broken is counted.

mod finding;
mod record;

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;

pub(crate) use finding::Line;

use crate::cgroup_names::RecordedCgroupNames;
use finding::Converter;

/// The longest line. Records have some 2 KB.
const MAX_LINE_LEN: u64 = 1 << 20;
/// The version of the JSON that is read.
const VERSION: u64 = 1;

/// What the lines were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    /// All lines but empty ones.
    pub lines: u64,
    /// Those that are no record, and the number of the first of them.
    pub broken: u64,
    /// The number of the first broken line, from 1.
    pub first_broken: Option<u64>,
    /// Records of kinds that are not read, such as summaries.
    pub other_kinds: u64,
    /// Records of another version.
    pub other_versions: u64,
}

/// Reads lines.
pub(crate) struct JsonLines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    counts: LineCounts,
    converter: Converter,
}

#[derive(Deserialize)]
struct Kind {
    v: u64,
    kind: String,
}

impl<R: BufRead> JsonLines<R> {
    /// Returns whether a file that begins with these bytes has JSON lines.
    pub fn are_in(begin: &[u8]) -> bool {
        begin.trim_ascii_start().first() == Some(&b'{')
    }

    /// Reads from `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            number: 0,
            counts: LineCounts::default(),
            converter: Converter::default(),
        }
    }

    /// Returns what the lines were up to now.
    pub const fn counts(&self) -> LineCounts {
        self.counts
    }

    /// Returns the names of the cgroups in the lines up to now.
    pub fn cgroups(&self) -> RecordedCgroupNames {
        self.converter.cgroups()
    }

    /// Returns the next line that is about a connection or a loss; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line>> {
        loop {
            let Some(is_whole) = self.read_line()? else {
                return Ok(None);
            };
            if self.line.trim_ascii().is_empty() {
                continue;
            }
            self.counts.lines += 1;
            match is_whole.then(|| self.parse()) {
                Some(Ok(Some(line))) => return Ok(Some(line)),
                Some(Ok(None)) => {}
                Some(Err(_)) | None => {
                    self.counts.broken += 1;
                    self.counts.first_broken.get_or_insert(self.number);
                }
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Line>, serde_json::Error> {
        let Kind { v, kind } = serde_json::from_slice(&self.line)?;
        if v != VERSION {
            self.counts.other_versions += 1;
            return Ok(None);
        }
        let line = self.converter.convert(&kind, &self.line)?;
        self.counts.other_kinds += u64::from(line.is_none());
        Ok(line)
    }

    /// Reads a line, without the rest of one that is too long. Returns whether it is whole; `None`
    /// at the end.
    fn read_line(&mut self) -> io::Result<Option<bool>> {
        self.line.clear();
        let mut limited = self.input.by_ref().take(MAX_LINE_LEN);
        if limited.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        self.number += 1;
        let is_whole = self.line.ends_with(b"\n") || (self.line.len() as u64) < MAX_LINE_LEN;
        if !is_whole {
            self.skip_line()?;
        }
        Ok(Some(is_whole))
    }

    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.input.fill_buf()?;
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (len, is_over) = (bytes.len(), bytes.is_empty() || end.is_some());
            self.input.consume(end.map_or(len, |end| end + 1));
            if is_over {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> (usize, LineCounts) {
        let mut lines = JsonLines::new(text);
        let mut found = 0;
        while lines.next_line().expect("memory can be read").is_some() {
            found += 1;
        }
        (found, lines.counts())
    }

    const LOSS: &str = r#"{"v":1,"kind":"loss","ts":"2026-01-31T12:00:00.988181Z","lost":5,"where":"ring","repaired":true,"duration_ms":null}"#;

    #[test]
    fn broken_other_and_overlong_lines_are_counted() {
        let long = "x".repeat(3 << 20);
        let text = format!(
            "{LOSS}\n\nno JSON\n{long}\n{{\"v\":2,\"kind\":\"loss\"}}\n{{\"v\":1,\"kind\":\"summary\"}}\n{LOSS}"
        );
        let (found, counts) = read(text.as_bytes());
        let expected = LineCounts {
            lines: 6,
            broken: 2,
            first_broken: Some(3),
            other_kinds: 1,
            other_versions: 1,
        };
        assert_eq!((found, counts), (2, expected));
    }

    #[test]
    fn the_first_byte_that_is_no_blank_decides() {
        assert!(JsonLines::<&[u8]>::are_in(b"\n {\"v\":1}"));
        assert!(!JsonLines::<&[u8]>::are_in(b"tcpclose recording 6\n{"));
        assert!(!JsonLines::<&[u8]>::are_in(b""));
    }
}
