//! Which of two recordings is read next: so that the two ends of a connection come soon after each
//! other, and few have to wait.

use super::reading::Message;
use tcpclose_core::compare::{Comparison, Host, RecordedEndpoint};
use tcpclose_core::types::Nanos;

/// How far each recording is read.
#[derive(Debug, Default)]
pub(super) struct ReadOrder {
    hosts: [Progress; 2],
    /// Whether the last turn went by the numbers of ends.
    was_by_count: bool,
}

#[derive(Debug, Default)]
struct Progress {
    now: Nanos,
    /// What to add to its times for wall time, as its host had it.
    wall: i64,
    ends: u64,
    has_ended: bool,
}

impl ReadOrder {
    /// Returns the recording that is behind; `None` when both are read. `distance`: B's clock minus
    /// A's, where a connection has shown that. Before, the hosts' own wall clocks and the number of
    /// ends decide by turns: if the clocks are hours apart, the ends still meet.
    pub fn next(&mut self, distance: Option<i64>) -> Option<Host> {
        let [a, b] = &self.hosts;
        let is_a = match (a.has_ended, b.has_ended) {
            (true, true) => return None,
            (false, true) => true,
            (true, false) => false,
            (false, false) => {
                let distance = distance.map_or(i128::from(a.wall) - i128::from(b.wall), i128::from);
                self.was_by_count = !self.was_by_count;
                match self.was_by_count {
                    true => a.ends <= b.ends,
                    false => i128::from(a.now.0) + distance <= i128::from(b.now.0),
                }
            }
        };
        Some(if is_a { Host::A } else { Host::B })
    }

    /// Takes what was read.
    pub fn take(&mut self, host: Host, message: Message, comparison: &mut Comparison) {
        let progress = &mut self.hosts[host.index()];
        match message {
            Message::Endpoint(end, is_wanted) => {
                progress.ends += u64::from(matches!(end, RecordedEndpoint::Closed(_)));
                comparison.add(host, end, is_wanted);
            }
            Message::Loss(loss) => comparison.add_loss(host, &loss),
            Message::Reached(now, wall) => {
                (progress.now, progress.wall) = (now, wall);
                comparison.reached(host, now);
            }
        }
    }

    /// Notes that a recording is read.
    pub const fn end(&mut self, host: Host) {
        self.hosts[host.index()].has_ended = true;
    }

    /// Returns what to add to each host's times for wall time.
    pub fn walls(&self) -> [i64; 2] {
        self.hosts.each_ref().map(|host| host.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    #[test]
    fn by_turns_the_one_that_is_behind_and_the_one_with_fewer_ends() {
        let mut turns = ReadOrder::default();
        turns.hosts[0].wall = 0;
        turns.hosts[1].wall = 2 * HOUR as i64;
        turns.hosts[0].ends = 5;
        turns.hosts[0].now = Nanos(HOUR);
        let order: Vec<_> = (0..4).map(|_| turns.next(None)).collect();
        let (a, b) = (Some(Host::A), Some(Host::B));
        assert_eq!(order, [b, a, b, a]);
        // A connection has shown that A is ahead.
        turns.hosts[1].ends = 5;
        let order: Vec<_> = (0..4).map(|_| turns.next(Some(0))).collect();
        assert_eq!(order, [a, b, a, b]);
        turns.end(Host::A);
        assert_eq!(turns.next(None), b);
        turns.end(Host::B);
        assert_eq!(turns.next(None), None);
    }
}
