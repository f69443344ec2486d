//! An output under test: opened as the agent opens it, and watched until it has delivered.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::output::sink::{BatchDelay, RecordKind, Sink, SinkConfig, Target};
use crate::output_status::OutputCounts;
use crate::record::Record;
use tcpclose_core::filter::ConnectionFilter;

/// Room for all records of the test.
const MIN_QUEUE: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// An output under test.
pub(super) struct Delivery {
    name: String,
    /// Whether its kinds have any of the test's records.
    is_concerned: bool,
    /// The output, or why it cannot be used.
    sink: anyhow::Result<Sink>,
}

/// How far an output is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has delivered everything: so many records.
    Delivered(u64),
    /// Its kinds leave out all records of the test.
    NotConcerned,
    /// Records wait, for this reason if one is known.
    Waiting(Option<String>),
    /// Its receiver has refused records, for this reason.
    Refused(String),
    /// It cannot be opened; this is the whole sentence.
    Unusable(String),
}

impl Delivery {
    /// Opens an output with `open`, without the `filter` and the `rate_limit` of its configuration:
    /// most filters would leave out the connections of the test.
    pub fn open(
        config: &SinkConfig,
        open: impl FnOnce(&SinkConfig) -> anyhow::Result<Sink>,
    ) -> Self {
        let mut target = config.target.clone();
        // It waits for no more records than there are.
        if let Target::Http(http) = &mut target {
            http.batch_delay = BatchDelay(Duration::ZERO);
        }
        let tested = SinkConfig {
            target,
            filter: ConnectionFilter::default(),
            rate_limit: None,
            queue: config.queue.max(MIN_QUEUE),
            ..config.clone()
        };
        let kinds = &config.kinds;
        Self {
            name: config.name(),
            is_concerned: kinds.contains(&RecordKind::Close) || kinds.contains(&RecordKind::Stuck),
            sink: open(&tested),
        }
    }

    /// Returns the output's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Offers a record.
    pub fn offer(&mut self, record: &Arc<Record>) {
        if let Ok(sink) = &mut self.sink {
            sink.offer(record);
        }
    }

    /// Returns how far the output is.
    pub fn progress(&self) -> Progress {
        match &self.sink {
            Err(error) => Progress::Unusable(format!("{error:#}")),
            Ok(_) if !self.is_concerned => Progress::NotConcerned,
            Ok(sink) => progress(sink.counts(), sink.refusal(), || {
                sink.outage().map(|outage| outage.reason)
            }),
        }
    }
}

fn progress(
    counts: OutputCounts,
    refusal: Option<String>,
    outage: impl FnOnce() -> Option<String>,
) -> Progress {
    let wanted = counts.offered - counts.filtered;
    if counts.failed > 0 {
        Progress::Refused(refusal.unwrap_or_default())
    } else if wanted > 0 && counts.written == wanted {
        Progress::Delivered(wanted)
    } else {
        Progress::Waiting(outage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress_of(counts: OutputCounts) -> Progress {
        let outage = || Some("connect failed".to_owned());
        progress(counts, Some("HTTP 400".to_owned()), outage)
    }

    #[test]
    fn everything_that_is_not_filtered_must_be_written() {
        let counts = OutputCounts {
            offered: 6,
            filtered: 4,
            written: 2,
            ..OutputCounts::default()
        };
        assert_eq!(progress_of(counts), Progress::Delivered(2));
        let half = OutputCounts {
            written: 1,
            queued: 1,
            ..counts
        };
        let waiting = Progress::Waiting(Some("connect failed".to_owned()));
        assert_eq!(progress_of(half), waiting);
        assert_eq!(progress_of(OutputCounts::default()), waiting);
        let refused = OutputCounts {
            written: 1,
            failed: 1,
            ..counts
        };
        assert_eq!(
            progress_of(refused),
            Progress::Refused("HTTP 400".to_owned())
        );
    }
}
