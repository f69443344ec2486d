//! Which connections there are, and which course each takes.

use tcpclose_core::types::Nanos;

use crate::course::Course;
use crate::faults::Faults;
use crate::fleet::Fleet;
use crate::services::SERVICES;

/// Chooses, by chance and by what is planned.
pub struct Mix<'a> {
    /// The hosts.
    pub fleet: &'a Fleet,
    /// What is wrong with them.
    pub faults: &'a Faults,
    /// Chance.
    pub random: &'a mut fastrand::Rng,
}

impl Mix<'_> {
    /// Returns which service a host of this one calls.
    pub fn called(&mut self, service: usize) -> usize {
        let calls = SERVICES[service].calls;
        let all: u32 = calls.iter().map(|(_, weight)| weight).sum();
        let mut place = self.random.u32(..all);
        for (called, weight) in calls {
            if place < *weight {
                return *called;
            }
            place -= weight;
        }
        calls[0].0
    }

    /// Returns whether something happens that does so many times of 1,000.
    pub fn happens(&mut self, of_1000: u32) -> bool {
        self.random.u32(..1_000) < of_1000
    }

    /// What happens everywhere, in any fleet.
    fn background(&mut self) -> Option<Course> {
        let courses = [
            Course::Refused,
            Course::Lingered,
            Course::Unread,
            Course::NoAnswer,
            Course::FinLostOnce,
            Course::ClosedLate(Nanos::from_secs(self.random.u64(64..90))),
        ];
        self.happens(4)
            .then(|| courses[self.random.usize(..courses.len())])
    }

    /// Returns the course of a connection with which nothing is wrong but what happens everywhere.
    pub fn harmless(&mut self, idle: Option<Nanos>) -> Course {
        if let Some(course) = self.background() {
            return course;
        }
        match idle {
            Some(idle) if self.happens(400) => Course::ClientGivesUp(idle),
            _ => Course::Short {
                at_once: self.happens(700),
            },
        }
    }

    /// Returns the course of a connection within the fleet.
    pub fn course(&mut self, client: usize, server: usize, at: Nanos) -> Course {
        let (client_host, server_host) = (&self.fleet.hosts[client], &self.fleet.hosts[server]);
        let (from, to) = (client_host.rack, server_host.rack);
        let (caller, called) = (client_host.service, server_host.service);
        let deployed = self.faults.deployed(called, server_host.place, at);
        if deployed == self.faults.leaking && self.happens(150) {
            return Course::Leaked;
        }
        if deployed == self.faults.not_reading && self.happens(200) {
            return Course::Unread;
        }
        let losing = self.faults.losing_rack;
        if from == losing && to != losing && self.happens(300) {
            return Course::FinsLost;
        }
        let firewall = self.faults.firewall_rack;
        if SERVICES[called].has_long_connections && self.happens(150) {
            let idle = Nanos::from_secs(self.random.u64(60..1_700));
            let is_behind = from != firewall && to == firewall;
            let is_forgotten = is_behind && idle > self.faults.firewall_timeout;
            return match is_forgotten {
                true => Course::CutByFirewall(idle),
                false => Course::Long(idle),
            };
        }
        let timeout = self.faults.idle_timeouts[called];
        if (caller, called) == self.faults.mismatch && self.happens(400) {
            return match self.happens(120) {
                true => Course::UsedTooLate(timeout),
                false => Course::ServerGivesUp(timeout),
            };
        }
        self.harmless(Some(Nanos(timeout.0 / 5 * 3)))
    }
}
