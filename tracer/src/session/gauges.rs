//! Counts of the present state, for summaries and scrapes.

use std::fs;
use std::ops::RangeInclusive;

use super::event_loop::Session;
use super::live::Live;
use super::source::Source as _;
use crate::summary::IntervalEnd;
use tcpclose_core::stuck::StuckSocket;
use tcpclose_core::summary::{Gauges, IntervalContext, Pressure, Route, StuckCounts};
use tcpclose_core::types::{NetNs, Port};
use tcpclose_sys::kernel::netns_cache::NetnsCache;
use tcpclose_sys::kernel::program_stats::BpfRuns;

/// The ephemeral ports of the calling thread's network namespace.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// The number of routes whose ports are counted, and how many of them are reported.
const COUNTED: usize = 8;
const REPORTED: usize = 3;

impl<S> Session<S> {
    /// Returns the number of endpoints that became established since the start.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.core.tracker().opened()
    }

    /// Returns the numbers of endpoints by state, without [`Session::pressure`].
    #[must_use]
    pub fn gauges(&self) -> Gauges {
        let tracker = self.core.tracker();
        Gauges {
            live: tracker.live_and_wanted() as u64,
            waiting_for_fin: tracker.waiting_for_fin() as u64,
            time_wait: tracker.in_time_wait() as u64,
            pressure: Vec::new(),
        }
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

    /// Returns what a summary needs at the end of its interval besides the findings.
    #[must_use]
    pub fn interval_context(&self) -> IntervalContext {
        IntervalContext {
            opened: self.opened(),
            now: self.gauges(),
            stuck: self.stuck_counts(),
        }
    }

    /// Records the end of an agent's interval, if the session is recorded.
    pub fn record_interval_end(&mut self, end: &IntervalEnd) {
        if let Some(recording) = self.core.recording() {
            recording.interval_end(end);
        }
    }
}

impl Session<Live> {
    /// Finds the routes with the most ephemeral ports in use. Iterates over all endpoints twice,
    /// and takes new records in between.
    ///
    /// # Errors
    /// The kernel's records can no longer be read.
    pub fn pressure(&mut self) -> anyhow::Result<Vec<Pressure>> {
        let routes = self.core.tracker().busiest_routes(COUNTED);
        let _ = self.source.pump(&mut self.core, &self.clock, None)?;
        let ports = self.core.tracker().local_ports(&routes);
        let mut pressure: Vec<Pressure> = routes
            .iter()
            .zip(&ports)
            .filter_map(|(route, ports)| self.source.pressure_on(route, ports))
            .collect();
        pressure.sort_by(|a, b| b.share().total_cmp(&a.share()));
        pressure.truncate(REPORTED);
        Ok(pressure)
    }

    /// Returns how often and how long the eBPF programs have run since the start; `None` where that
    /// cannot be read.
    #[must_use]
    pub fn bpf_runs(&self) -> Option<BpfRuns> {
        self.source.attached.runs()
    }
}

impl Live {
    fn pressure_on(&mut self, route: &Route, ports: &[Port]) -> Option<Pressure> {
        let range = port_range(&mut self.netns_cache, route.netns)?;
        let used = ports
            .iter()
            .filter(|port| range.contains(&port.get()))
            .count();
        (used > 0).then_some(Pressure {
            route: *route,
            used: used as u32,
            ports: range.len() as u32,
        })
    }
}

/// Returns the ephemeral ports of a namespace. One that the kernel did not name is taken for the
/// own namespace; it is not searched for.
fn port_range(netns_cache: &mut NetnsCache, netns: Option<NetNs>) -> Option<RangeInclusive<u16>> {
    let read = || fs::read_to_string(PORT_RANGE).ok();
    let text = match netns {
        Some(netns) => netns_cache.run_in(netns, read).ok()?,
        None => read(),
    };
    parse(&text?)
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_sys::kernel::netns;

    #[test]
    fn the_range_of_an_unknown_namespace_is_that_of_the_own() {
        let mut netns_cache = NetnsCache::default();
        let own = netns::current().expect("it has a number");
        let range = port_range(&mut netns_cache, Some(own));
        assert!(range.is_some());
        assert_eq!(port_range(&mut netns_cache, None), range);
    }

    #[test]
    fn the_range_has_both_ends() {
        let range = parse("32768\t60999\n").expect("it is one");
        assert_eq!((range.len(), range.contains(&60_999)), (28_232, true));
        assert_eq!(parse("60999\t32768\n"), None);
        assert_eq!(parse("32768\n"), None);
    }
}
