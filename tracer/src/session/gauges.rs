//! Counts of the present state, for summaries and scrapes.

use std::collections::BTreeSet;

use super::event_loop::Session;
use super::live::Live;
use super::source::Source as _;
use crate::summary::IntervalEnd;
use tcpclose_common::TcpState;
use tcpclose_core::ListedEndpoint;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::open_endpoint::OpenEndpoint;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::summary::{Gauges, IntervalContext, PortPressure, StuckCounts};
use tcpclose_core::types::{Port, SharedOwner};
use tcpclose_sys::kernel::program_stats::ProgramRunStats;

/// The number of routes whose ports are counted.
const MAX_COUNTED: usize = 8;

impl<S> Session<S> {
    /// Returns the number of endpoints that became established since the start.
    #[must_use]
    pub fn established_total(&self) -> u64 {
        self.core.tracker().established_total()
    }

    /// Returns the numbers of endpoints by state, without [`Session::pressure`].
    fn gauges(&self, local_ports: &BTreeSet<Port>) -> Gauges {
        let tracker = self.core.tracker();
        Gauges {
            live: tracker.live_matching_filter() as u64,
            waiting_for_fin: tracker.waiting_for_fin() as u64,
            time_wait: tracker.in_time_wait() as u64,
            pressure: Vec::new(),
            local_ports: tracker.states_of_local_ports(local_ports),
        }
    }

    /// Returns how many connections are open, and how many of them pass a filter. Iterates over
    /// all of them.
    #[must_use]
    pub fn open_endpoints(&self, filter: &ConnectionFilter) -> (usize, usize) {
        self.core.tracker().open_endpoints(filter)
    }

    /// Returns the endpoints that are established and have not closed yet.
    pub fn unclosed_endpoints(&self) -> impl Iterator<Item = OpenEndpoint> {
        self.core.tracker().unclosed_endpoints()
    }

    /// Returns the endpoints whose state and owner are wanted: at most `most`, the ones first that
    /// entered their state first, and how many there are. Iterates over all of them.
    #[must_use]
    pub fn list_endpoints(
        &self,
        most: usize,
        wanted: impl Fn(TcpState, Option<&SharedOwner>) -> bool,
    ) -> (Vec<ListedEndpoint>, usize) {
        self.core.tracker().list_endpoints(most, wanted)
    }

    /// Returns the sockets that were reported as stuck and are not resolved; none without detection
    /// of stuck sockets.
    pub fn stuck_sockets(&self) -> impl Iterator<Item = &StuckSocket> {
        self.core.tracker().stuck_sockets().into_iter().flatten()
    }

    /// Counts the stuck sockets; `None` without detection of stuck sockets.
    #[must_use]
    pub fn stuck_counts(&self) -> Option<StuckCounts> {
        Some(self.core.tracker().stuck_sockets()?.collect())
    }

    /// Returns what a summary needs at the end of its interval besides the findings. The endpoints
    /// of `local_ports` are counted by state.
    #[must_use]
    pub fn interval_context(&self, local_ports: &BTreeSet<Port>) -> IntervalContext {
        IntervalContext {
            opened: self.established_total(),
            unjoined: self.core.tracker().unjoined_endpoints(),
            now: self.gauges(local_ports),
            stuck: self.stuck_counts(),
        }
    }

    /// Records the end of an agent's interval, if the session is recorded.
    pub fn record_interval_end(&mut self, end: &IntervalEnd) {
        if let Some(recording) = self.core.recording() {
            recording.interval_end(end);
        }
        if let Some(flight) = self.core.flight() {
            flight.interval_end(end);
        }
    }
}

impl Session<Live> {
    /// Finds the routes with the most ephemeral ports in use. Iterates over all endpoints twice,
    /// and takes new records in between.
    ///
    /// # Errors
    /// The kernel's records can no longer be read.
    pub fn pressure(&mut self) -> anyhow::Result<Vec<PortPressure>> {
        let routes = self.core.tracker().busiest_routes(MAX_COUNTED);
        let _ = self.source.pump(&mut self.core, &self.clock, None)?;
        let ports = self.core.tracker().ports_of(&routes);
        Ok(self.source.pressure(&routes, &ports))
    }

    /// Returns how often and how long the eBPF programs have run since the start; `None` where that
    /// cannot be read.
    #[must_use]
    pub fn bpf_runs(&self) -> Option<ProgramRunStats> {
        self.source.attached.runs()
    }
}
