//! Counts what happens while a triage watches.

use std::future::pending;

use crate::cgroup_names::CgroupNames;
use crate::cli::shutdown::Shutdown;
use crate::filter::passes;
use crate::output::close_tally::CloseTally;
use crate::output::terminal;
use crate::output::triage::TracedCloses;
use crate::session::{Consumer, Session, Source};
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::Finding;
use tcpclose_core::types::Nanos;

/// Counts until the time is over, or the user stops it.
pub(super) struct TriageConsumer {
    filter: ConnectionFilter,
    cgroups: Box<dyn CgroupNames>,
    shutdown: Option<Shutdown>,
    begun: Nanos,
    watched: TracedCloses,
    is_over: bool,
}

impl TriageConsumer {
    pub fn new(
        filter: ConnectionFilter,
        cgroups: Box<dyn CgroupNames>,
        shutdown: Option<Shutdown>,
        begun: Nanos,
    ) -> Self {
        Self {
            filter,
            cgroups,
            shutdown,
            begun,
            watched: TracedCloses {
                tally: CloseTally::new(terminal::symbols()),
                ..TracedCloses::default()
            },
            is_over: false,
        }
    }
}

impl<S: Source> Consumer<S> for TriageConsumer {
    type Output = TracedCloses;

    async fn wait(&mut self) {
        match &mut self.shutdown {
            Some(shutdown) => shutdown.requested().await,
            None => pending().await,
        }
        self.is_over = true;
    }

    fn on_finding(&mut self, finding: Finding) -> anyhow::Result<()> {
        let is_wanted = passes(&self.filter, &finding, self.cgroups.as_mut());
        match &finding {
            Finding::Loss(loss) => self.watched.lost += loss.lost,
            Finding::Close(close) if is_wanted && !close.endpoint.tuple.is_self_test() => {
                self.watched.add(close);
            }
            Finding::Close(_) | Finding::TimeWait(_) | Finding::Stuck(_) => {}
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.is_over
    }

    fn finish(mut self, session: &mut Session<S>) -> anyhow::Result<TracedCloses> {
        self.watched.span = session.now() - self.begun;
        Ok(self.watched)
    }
}
