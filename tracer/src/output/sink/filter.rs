//! Which records of its kinds an output wants.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::config::duration;
use tcpclose_core::finding::{ClosePath, Endpoint, Finding, Initiator};
use tcpclose_core::types::{Nanos, SharedOwner};

/// Keys that narrow an output's records. Each holds for the records that can have what it asks for, the others pass it:
/// `path` and `initiator` for closes only, `min_lifetime` not for leaks, and all of them for records about a connection
/// only. A connection of which the fact is not known is not one that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table like { no_loopback = true }"
)]
pub struct Filter {
    /// Only these local ports.
    #[serde(deserialize_with = "ports")]
    pub local_ports: BTreeSet<u16>,
    /// Only these ports of the peer.
    #[serde(deserialize_with = "ports")]
    pub peer_ports: BTreeSet<u16>,
    /// Only owners with these names.
    #[serde(deserialize_with = "names")]
    pub processes: BTreeSet<String>,
    /// Only closes of these paths.
    pub path: BTreeSet<ClosePath>,
    /// Only closes that these began.
    pub initiator: BTreeSet<Initiator>,
    /// Only connections that lasted this long.
    #[serde(deserialize_with = "duration")]
    pub min_lifetime: Duration,
    /// Not the connections of this host with itself, over loopback addresses.
    pub no_loopback: bool,
}

impl Filter {
    /// Whether a finding is wanted.
    #[must_use]
    pub fn wants(&self, finding: &Finding) -> bool {
        match finding {
            Finding::Close(close) => {
                asked(&self.path, &close.path)
                    && asked(&self.initiator, &close.initiator)
                    && self.lasted(&close.endpoint)
                    && self.wants_connection(&close.endpoint, close.owner.as_ref())
            }
            Finding::TimeWait(time_wait) => {
                self.lasted(&time_wait.endpoint)
                    && self.wants_connection(&time_wait.endpoint, time_wait.owner.as_ref())
            }
            Finding::Leak(stuck) => self.wants_connection(&stuck.endpoint, stuck.owner.as_ref()),
            Finding::Summary(_) | Finding::Loss(_) => true,
        }
    }

    fn wants_connection(&self, endpoint: &Endpoint, owner: Option<&SharedOwner>) -> bool {
        let tuple = &endpoint.tuple;
        asked(&self.local_ports, &tuple.local_port)
            && asked(&self.peer_ports, &tuple.peer_port)
            && (self.processes.is_empty() || owner.is_some_and(|owner| self.is_of(&owner.comm)))
            && !(self.no_loopback && tuple.local().ip().is_loopback())
    }

    fn lasted(&self, endpoint: &Endpoint) -> bool {
        let least = Nanos::from(self.min_lifetime);
        least == Nanos(0) || endpoint.lifetime.is_some_and(|lifetime| lifetime >= least)
    }

    fn is_of(&self, comm: &[u8]) -> bool {
        self.processes.contains(&*String::from_utf8_lossy(comm))
    }
}

fn asked<T: Ord>(wanted: &BTreeSet<T>, one: &T) -> bool {
    wanted.is_empty() || wanted.contains(one)
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<u16>, D::Error> {
    let numbers = BTreeSet::<i64>::deserialize(deserializer)?;
    let port = |number: i64| match u16::try_from(number) {
        Ok(port @ 1..) => Ok(port),
        _ => Err(de::Error::custom(format!(
            "no connection has port {number}: ports are 1 to 65535"
        ))),
    };
    numbers.into_iter().map(port).collect()
}

/// The kernel keeps 15 bytes of a name (`TASK_COMM_LEN`): a longer one would never be met.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let names = BTreeSet::<String>::deserialize(deserializer)?;
    match names.iter().find(|name| !(1..=15).contains(&name.len())) {
        Some(name) => Err(de::Error::custom(format!(
            "no process is called {name:?}: the kernel keeps 1 to 15 bytes of a name"
        ))),
        None => Ok(names),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::samples;
    use tcpclose_core::finding::{Loss, LossLocation};

    fn filter(toml: &str) -> Filter {
        toml::from_str(toml).expect("a filter")
    }

    fn close() -> Finding {
        Finding::Close(Box::new(samples::three_way()))
    }

    fn loss() -> Finding {
        Finding::Loss(Loss {
            at: Nanos(0),
            lost: 1,
            location: LossLocation::Ring,
            repaired: true,
        })
    }

    #[test]
    fn everything_passes_where_nothing_is_asked() {
        let unknown = Finding::Close(Box::new(samples::unknown()));
        assert!(filter("").wants(&close()));
        assert!(filter("").wants(&unknown));
    }

    #[test]
    fn each_key_narrows() {
        for (key, wanted) in [
            ("local_ports = [48350]", true),
            ("local_ports = [3306]", false),
            ("peer_ports = [80, 3306]", true),
            ("peer_ports = [48350]", false),
            ("processes = ['mariadb']", true),
            ("processes = ['maria']", false),
            ("path = ['reset', 'three_way']", true),
            ("path = ['reset']", false),
            ("initiator = ['peer']", true),
            ("initiator = ['local', 'both']", false),
            ("min_lifetime = '8400us'", true),
            ("min_lifetime = '8401us'", false),
            ("no_loopback = true", false),
        ] {
            assert_eq!(filter(key).wants(&close()), wanted, "{key}");
            assert!(filter(key).wants(&loss()), "a loss is of no connection");
        }
    }

    #[test]
    fn what_is_not_known_is_not_what_was_asked_for() {
        let unknown = Finding::Close(Box::new(samples::unknown()));
        assert!(!filter("processes = ['sshd']").wants(&unknown));
        assert!(!filter("min_lifetime = '1us'").wants(&unknown));
        assert!(filter("path = ['unknown']").wants(&unknown));
        assert!(filter("no_loopback = true").wants(&unknown));
    }

    #[test]
    fn a_leak_has_no_lifetime_yet() {
        let leak = Finding::Leak(Box::new(samples::resolved()));
        assert!(filter("min_lifetime = '1h'").wants(&leak));
        assert!(!filter("local_ports = [1]").wants(&leak));
    }

    #[test]
    fn the_words_are_those_of_the_json() {
        for path in [
            ClosePath::FourWay,
            ClosePath::ThreeWay,
            ClosePath::Simultaneous,
            ClosePath::Reset,
            ClosePath::Timeout,
            ClosePath::Destroyed,
            ClosePath::ConnectFailed,
            ClosePath::Unknown,
        ] {
            let read = filter(&format!("path = ['{}']", path.name()));
            assert_eq!(read.path, BTreeSet::from([path]));
        }
        for initiator in [
            Initiator::Local,
            Initiator::Peer,
            Initiator::Both,
            Initiator::Unknown,
        ] {
            let read = filter(&format!("initiator = ['{}']", initiator.name()));
            assert_eq!(read.initiator, BTreeSet::from([initiator]));
        }
    }
}
