//! The summary at the end of `tcpclose watch` and `tcpclose resets`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::common::verdict_exit_code;
use crate::notice::notice;
use crate::output::Format;
use crate::output::close_tally::{CloseTally, TallyPeriod};
use crate::output::terminal;
use crate::plural::plural;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::Nanos;

/// What the summary is made of.
pub(super) struct Summary {
    /// Counts the closes that are written; `None` where no summary is wanted.
    tally: Option<Arc<Mutex<CloseTally>>>,
    /// Whether only abnormal closes are shown, and the exit code is to answer whether there were
    /// any.
    abnormal_only: bool,
    format: Format,
    /// Closes that may have been abnormal: their path is unknown.
    pub unknown: u64,
    /// How many records, connections and lines were lost.
    pub lost: u64,
    /// Whether what is shown lacks something else that was asked for.
    pub is_incomplete: bool,
    /// The first and the last time.
    span: Option<(Nanos, Nanos)>,
}

impl Summary {
    pub fn new(tally: Option<Arc<Mutex<CloseTally>>>, abnormal_only: bool, format: Format) -> Self {
        Self {
            tally,
            abnormal_only,
            format,
            unknown: 0,
            lost: 0,
            is_incomplete: false,
            span: None,
        }
    }

    /// Notes that connections were watched up to `now`.
    pub fn reached(&mut self, now: Nanos) {
        // A recording begins with entries before its first time.
        if now > Nanos(0) {
            self.span = Some((self.span.map_or(now, |(first, _)| first), now));
        }
    }

    /// Counts the silence before a close that is not shown, since it was orderly.
    pub fn add_hidden(&mut self, finding: &Finding) {
        if let (Finding::Close(close), Some(tally)) = (finding, &self.tally) {
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add_silence(close);
        }
    }

    /// Shows the summary, and returns the exit code.
    pub fn finish(self) -> ExitCode {
        let Some(tally) = &self.tally else {
            return ExitCode::SUCCESS;
        };
        let unknown = self.unknown;
        if unknown > 0 {
            notice!(
                "{unknown} {} an unknown path, and may have been abnormal",
                plural(unknown, "close has", "closes have")
            );
        }
        let tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = TallyPeriod {
            lasted: self.span.map_or(Nanos(0), |(first, last)| last - first),
            lost: self.lost,
            abnormal_only: self.abnormal_only,
        };
        let text = tally.to_text(&watched);
        // Beside the lines where people read them, and never among those for programs.
        let _ = match terminal::is_stdout() && self.format == Format::Table {
            true => write!(io::stdout().lock(), "\n{text}"),
            false => write!(io::stderr().lock(), "{text}"),
        };
        if self.abnormal_only {
            let is_complete = unknown + self.lost == 0 && !self.is_incomplete;
            verdict_exit_code(tally.has_abnormal(), is_complete)
        } else {
            ExitCode::SUCCESS
        }
    }
}
