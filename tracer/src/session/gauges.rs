//! How things stand, for summaries.

use std::fs;
use std::io;
use std::ops::RangeInclusive;

use super::core_driver::CoreDriver;
use super::{Replay, Session};
use tcpclose_core::finding::Stuck;
use tcpclose_core::summary::{
    BpfRuns, Gauges, IntervalContext, IntervalEnd, Pressure, Route, StuckCounts,
};
use tcpclose_core::types::Port;

/// The ephemeral ports of the calling thread's network namespace.
const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// Routes whose ports are counted, and those of them that are told.
const COUNTED: usize = 8;
const TOLD: usize = 3;

impl CoreDriver {
    fn standing(&self) -> Gauges {
        let tracker = self.tracker();
        Gauges {
            live: tracker.live_and_wanted() as u64,
            waiting_for_fin: tracker.waiting_for_fin() as u64,
            time_wait: tracker.in_time_wait() as u64,
            pressure: Vec::new(),
        }
    }

    fn census(&self) -> Option<StuckCounts> {
        Some(self.tracker().stuck_sockets()?.collect())
    }

    fn surroundings(&self, boundary: IntervalEnd) -> IntervalContext {
        let IntervalEnd {
            at: _,
            pressure,
            outputs,
            tracer,
        } = boundary;
        IntervalContext {
            opened: self.tracker().opened(),
            now: Gauges {
                pressure,
                ..self.standing()
            },
            stuck: self.census(),
            outputs,
            tracer,
        }
    }
}

impl Replay {
    /// Ends that are told to be stuck and not resolved; none where nobody looked for them.
    pub fn stuck_sockets(&self) -> impl Iterator<Item = &Stuck> {
        let ends = self.intake.tracker().stuck_sockets();
        ends.into_iter().flatten()
    }

    /// As [`Session::surroundings`].
    #[must_use]
    pub fn surroundings(&self, boundary: IntervalEnd) -> IntervalContext {
        self.intake.surroundings(boundary)
    }
}

impl Session {
    /// Ends that became established, since the start.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.intake.tracker().opened()
    }

    /// How many ends there are; [`Self::pressure`] is not among it.
    #[must_use]
    pub fn standing(&self) -> Gauges {
        self.intake.standing()
    }

    /// What is stuck in CLOSE_WAIT; `None` where nobody looks for that.
    #[must_use]
    pub fn census(&self) -> Option<StuckCounts> {
        self.intake.census()
    }

    /// All that a summary tells besides findings, when its interval ends.
    #[must_use]
    pub fn surroundings(&self, boundary: IntervalEnd) -> IntervalContext {
        self.intake.surroundings(boundary)
    }

    /// Where most ephemeral ports are in use. Walks all ends twice, and takes what has come in between.
    ///
    /// # Errors
    /// As [`Session::pump`].
    pub fn pressure(&mut self) -> io::Result<Vec<Pressure>> {
        let routes = self.intake.tracker().busiest_routes(COUNTED);
        self.pump(|_| ())?;
        let ports = self.intake.tracker().local_ports(&routes);
        let mut pressure: Vec<Pressure> = routes
            .iter()
            .zip(&ports)
            .filter_map(|(route, ports)| self.pressure_on(route, ports))
            .collect();
        pressure.sort_by(|a, b| b.share().total_cmp(&a.share()));
        pressure.truncate(TOLD);
        Ok(pressure)
    }

    fn pressure_on(&mut self, route: &Route, ports: &[Port]) -> Option<Pressure> {
        let text = self
            .netns_cache
            .run_in(route.netns?, || fs::read_to_string(PORT_RANGE).ok())?;
        let range = parse(&text?)?;
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

    /// Runs of the eBPF programs since the start; `None` where that cannot be read.
    #[must_use]
    pub fn bpf_runs(&self) -> Option<BpfRuns> {
        self.attached.runs()
    }
}

fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut numbers = text.split_whitespace().map(str::parse);
    let (first, last) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_range_has_both_ends() {
        let range = parse("32768\t60999\n").expect("it is one");
        assert_eq!((range.len(), range.contains(&60_999)), (28_232, true));
        assert_eq!(parse("60999\t32768\n"), None);
        assert_eq!(parse("32768\n"), None);
    }
}
