//! Writes to stderr what scans could not inspect.

use std::collections::HashSet;

use crate::coverage::CoverageGap;
use crate::notice::notice;

/// The most gaps that are printed while watching; each may be of another process.
const MAX_GAPS: usize = 64;

/// Prints each gap once.
pub(super) struct GapPrinter {
    printed: HashSet<String>,
    most: usize,
}

impl GapPrinter {
    /// `watching`: further scans follow, and only a limited number of gaps is printed.
    pub fn new(watching: bool) -> Self {
        Self {
            printed: HashSet::new(),
            most: if watching { MAX_GAPS } else { usize::MAX },
        }
    }

    /// Prints the gaps of a scan that were not printed yet. Returns whether nothing that matters is
    /// missing.
    pub fn print(&mut self, gaps: &[CoverageGap]) -> bool {
        for CoverageGap { text, .. } in gaps {
            if self.printed.len() >= self.most || !self.printed.insert(text.clone()) {
                continue;
            }
            notice!("{text}");
            if self.printed.len() == self.most {
                notice!("further gaps are not printed: scan once without --watch");
            }
        }
        !gaps.iter().any(|gap| gap.matters)
    }
}
