//! Stuck sockets by process: when they are shown, at most one line a process and minute.

use std::collections::BTreeMap;

use tcpclose_core::stuck::{Age, OwnerKey, StuckSocket};
use tcpclose_core::types::Nanos;

/// The time between two lines of one process.
const LINE_INTERVAL: Nanos = Nanos::from_secs(60);
/// How long the first line of a process waits for its other sockets, which are probed at the same
/// time.
const FIRST_LINE_DELAY: Nanos = Nanos::from_secs(1);
/// The most processes that wait for their line; with more, all lines come at once.
const MAX_GROUPS: usize = 4096;

/// The stuck sockets of one process in one state.
#[derive(Clone, Debug)]
pub struct StuckGroup {
    /// When they were counted.
    pub at: Nanos,
    /// The last one that became stuck, or was resolved.
    pub latest: Box<StuckSocket>,
    /// How many are stuck.
    pub stuck: u64,
    /// The age of the oldest of these.
    pub oldest: Option<Age>,
    /// How many are no longer stuck since the last line.
    pub resolved: u64,
}

/// Whose stuck sockets have a line together.
type GroupKey = (OwnerKey, u8);

/// Decides when a process's stuck sockets have a line.
#[derive(Debug, Default)]
pub(crate) struct StuckDigest {
    groups: BTreeMap<GroupKey, Group>,
}

#[derive(Debug)]
struct Group {
    /// When the next line may come.
    due: Nanos,
    /// What is new since the last line.
    news: Option<News>,
}

#[derive(Debug)]
struct News {
    latest: Box<StuckSocket>,
    resolved: u64,
}

impl StuckDigest {
    /// Takes a socket that became stuck, or is no longer.
    pub fn add(&mut self, stuck: Box<StuckSocket>) {
        let is_resolved = stuck.resolution().is_some();
        let group = self.groups.entry(key(&stuck)).or_insert(Group {
            due: stuck.at + FIRST_LINE_DELAY,
            news: None,
        });
        let before = group.news.take().map_or(0, |news| news.resolved);
        group.news = Some(News {
            latest: stuck,
            resolved: before + u64::from(is_resolved),
        });
    }

    /// Returns when [`Self::take_due`] has something to show.
    pub fn next_due(&self) -> Option<Nanos> {
        if self.groups.len() > MAX_GROUPS {
            return Some(Nanos(0));
        }
        let waiting = self.groups.values().filter(|group| group.news.is_some());
        waiting.map(|group| group.due).min()
    }

    /// Takes the groups that have news and whose lines are due by `until`. `stuck` are the sockets
    /// that are stuck at `now`.
    pub fn take_due<'a>(
        &mut self,
        now: Nanos,
        until: Nanos,
        stuck: impl Iterator<Item = &'a StuckSocket>,
    ) -> Vec<StuckGroup> {
        let is_full = self.groups.len() > MAX_GROUPS;
        let mut due: BTreeMap<GroupKey, StuckGroup> = BTreeMap::new();
        for (key, group) in &mut self.groups {
            if !is_full && group.due > until {
                continue;
            }
            let Some(News { latest, resolved }) = group.news.take() else {
                continue;
            };
            group.due = now + LINE_INTERVAL;
            let shown = StuckGroup {
                at: now,
                latest,
                stuck: 0,
                oldest: None,
                resolved,
            };
            due.insert(*key, shown);
        }
        // Nothing has to be known of a process that may have a line at any time.
        self.groups
            .retain(|_, group| !is_full && (group.news.is_some() || group.due > now));
        for socket in stuck {
            if let Some(group) = due.get_mut(&key(socket)) {
                group.stuck += 1;
                let is_older = |oldest: Age| socket.age.since < oldest.since;
                if group.oldest.is_none_or(is_older) {
                    group.oldest = Some(socket.age);
                }
            }
        }
        due.into_values().collect()
    }
}

fn key(stuck: &StuckSocket) -> GroupKey {
    (stuck.owner_key(), stuck.socket.state as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;
    use tcpclose_core::stuck::Resolution;
    use tcpclose_core::types::EndpointId;

    const ALL: Nanos = Nanos(u64::MAX);

    fn secs(seconds: u64) -> Nanos {
        Nanos::from_secs(seconds)
    }

    fn stuck(number: u64, at: Nanos) -> StuckSocket {
        let mut stuck = samples::stuck();
        (stuck.at, stuck.age.since) = (at, Nanos(number));
        (stuck.socket.id, stuck.endpoint.id) = (EndpointId(number), EndpointId(number));
        stuck
    }

    /// A digest that has seen these sockets, and what it shows of them at `now`.
    fn shown(digest: &mut StuckDigest, now: Nanos, sockets: &[StuckSocket]) -> Vec<(u64, u64)> {
        let groups = digest.take_due(now, now, sockets.iter());
        groups
            .iter()
            .map(|group| (group.stuck, group.resolved))
            .collect()
    }

    #[test]
    fn sockets_that_are_known_at_the_start_have_one_line_together() {
        let mut digest = StuckDigest::default();
        let sockets: Vec<_> = (1..=40).map(|number| stuck(number, secs(100))).collect();
        for socket in &sockets {
            digest.add(Box::new(socket.clone()));
        }
        assert_eq!(digest.next_due(), Some(secs(101)));
        assert_eq!(shown(&mut digest, secs(100), &sockets), []);
        let groups = digest.take_due(secs(101), secs(101), sockets.iter());
        let [group] = groups.as_slice() else {
            panic!("{groups:?}")
        };
        assert_eq!((group.stuck, group.resolved), (40, 0));
        assert_eq!(group.oldest.map(|oldest| oldest.since), Some(Nanos(1)));
        assert_eq!(digest.next_due(), None);
    }

    #[test]
    fn a_process_has_one_line_a_minute() {
        let mut digest = StuckDigest::default();
        let mut sockets = vec![stuck(1, secs(10))];
        digest.add(Box::new(sockets[0].clone()));
        assert_eq!(shown(&mut digest, secs(11), &sockets), [(1, 0)]);
        for number in 2..=31 {
            sockets.push(stuck(number, secs(10 + number)));
            digest.add(Box::new(sockets[number as usize - 1].clone()));
        }
        let mut closed = sockets.remove(0);
        closed.resolve(secs(50), Resolution::Closed);
        digest.add(Box::new(closed));
        assert_eq!(digest.next_due(), Some(secs(71)));
        assert_eq!(shown(&mut digest, secs(70), &sockets), []);
        assert_eq!(shown(&mut digest, secs(71), &sockets), [(30, 1)]);
        // After a quiet time the next line comes soon.
        digest.add(Box::new(stuck(99, secs(500))));
        assert_eq!(digest.next_due(), Some(secs(131)));
        assert_eq!(shown(&mut digest, secs(500), &sockets), [(30, 0)]);
    }

    #[test]
    fn each_process_has_its_own_line_and_all_come_at_the_end() {
        let mut digest = StuckDigest::default();
        let mut other = stuck(2, secs(10));
        other.process = None;
        other.holders.clear();
        let sockets = [stuck(1, secs(10)), other];
        for socket in &sockets {
            digest.add(Box::new(socket.clone()));
        }
        assert_eq!(digest.take_due(secs(10), ALL, sockets.iter()).len(), 2);
        assert_eq!(digest.take_due(secs(10), ALL, sockets.iter()).len(), 0);
    }

    #[test]
    fn with_too_many_processes_all_lines_come_at_once() {
        let mut digest = StuckDigest::default();
        for pid in 0..=MAX_GROUPS as u32 {
            let mut stuck = stuck(1, secs(10));
            stuck.process = None;
            stuck.holders[0].pid = pid;
            digest.add(Box::new(stuck));
        }
        assert_eq!(digest.next_due(), Some(Nanos(0)));
        let groups = digest.take_due(secs(10), secs(10), [].iter());
        assert_eq!(groups.len(), MAX_GROUPS + 1);
        assert!(digest.groups.is_empty());
    }
}
