//! JSON lines to standard output.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use crate::lifecycle::finding::Finding;
use crate::output::write_all::write_all;

use super::delivery::{Delivery, Progress};
use super::render::Surroundings;

/// See the module.
pub(super) struct Stdout {
    /// Past std's own buffer, whose lines would count as written.
    out: File,
    surroundings: Surroundings,
    /// What is left of a line that was written in part: always of the next record.
    rest: Vec<u8>,
}

impl Stdout {
    pub(super) fn open(surroundings: Surroundings) -> io::Result<Self> {
        let fd = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self::to(fd.into(), surroundings))
    }

    fn to(out: File, surroundings: Surroundings) -> Self {
        Self {
            out,
            surroundings,
            rest: Vec::new(),
        }
    }
}

impl Delivery for Stdout {
    fn deliver(&mut self, records: &[Arc<Finding>]) -> Progress {
        let mut lines = std::mem::take(&mut self.rest);
        let begun = usize::from(!lines.is_empty());
        self.surroundings.clock.refresh();
        for record in &records[begun..] {
            self.surroundings.write_line(&mut lines, record);
        }
        let mut out = 0;
        let result = write_all(&mut self.out, &lines, |written| out += written.len());
        let written = lines[..out].iter().filter(|byte| **byte == b'\n').count();
        if let Some(cut) = cut_line(&lines, out) {
            self.rest = cut.to_vec();
        }
        Progress {
            written,
            down: result
                .err()
                .map(|error| format!("write failed: {error}").into()),
            ..Progress::default()
        }
    }
}

/// The rest of the line that ends within `lines[..written]` but not at its end; `None` when whole lines were written.
fn cut_line(lines: &[u8], written: usize) -> Option<&[u8]> {
    let whole = written == 0 || lines[written - 1] == b'\n';
    let rest = &lines[written..];
    let end = rest.iter().position(|byte| *byte == b'\n')?;
    (!whole).then(|| &rest[..=end])
}
