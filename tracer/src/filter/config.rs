//! The filter in the agent's configuration: `[trace]`, which the kernel applies, and `filter = { …
//! }` of an output.

use std::collections::BTreeSet;
use std::time::Duration;

use super::containers::kubernetes_namespace;
use serde::{Deserialize, Deserializer, de};
use tcpclose_core::container_filter::ContainerFilter;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Cause, ClosePath, Initiator};
use tcpclose_core::types::IpVersion;
use tcpclose_sys::kernel::netns::{self, NetNsError, NetNsHandle};

use crate::toml_duration::duration;

/// Which connections the kernel reports at all. It cannot be changed while the agent runs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KernelFilter {
    /// Only these local ports; all when empty.
    #[serde(deserialize_with = "ports")]
    pub local_ports: BTreeSet<u16>,
    /// Only these ports of the peer; all when empty.
    #[serde(deserialize_with = "ports")]
    pub peer_ports: BTreeSet<u16>,
    /// Only this IP version.
    #[serde(deserialize_with = "ip_version")]
    pub ip_version: Option<IpVersion>,
    /// Only this network namespace, as `tcpclose watch --netns` takes it.
    pub netns: Option<String>,
}

impl KernelFilter {
    /// Opens the namespace; `None` for all namespaces.
    ///
    /// # Errors
    /// There is no such namespace, or it cannot be opened.
    pub fn namespace(&self) -> Result<Option<NetNsHandle>, NetNsError> {
        self.netns.as_deref().map(netns::by_spec).transpose()
    }

    /// Returns the filter for what is on this host now.
    ///
    /// # Errors
    /// As [`Self::namespace`].
    pub fn live(&self) -> Result<ConnectionFilter, NetNsError> {
        Ok(ConnectionFilter {
            netns: self.namespace()?.map(|handle| handle.id()),
            ..self.without_namespace()
        })
    }

    /// Returns the filter without its namespace, for what is not on this host.
    pub(crate) fn without_namespace(&self) -> ConnectionFilter {
        ConnectionFilter {
            local_ports: self.local_ports.clone(),
            peer_ports: self.peer_ports.clone(),
            ip: self.ip_version,
            ..ConnectionFilter::default()
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(
    deny_unknown_fields,
    default,
    expecting = "a table like { no_loopback = true }"
)]
struct OutputFilter {
    #[serde(deserialize_with = "ports")]
    local_ports: BTreeSet<u16>,
    #[serde(deserialize_with = "ports")]
    peer_ports: BTreeSet<u16>,
    #[serde(deserialize_with = "names")]
    processes: BTreeSet<String>,
    #[serde(deserialize_with = "names_of_containers")]
    containers: BTreeSet<String>,
    #[serde(deserialize_with = "names_of_containers")]
    pods: BTreeSet<String>,
    #[serde(deserialize_with = "namespaces")]
    namespaces: BTreeSet<String>,
    path: BTreeSet<ClosePath>,
    cause: BTreeSet<Cause>,
    initiator: BTreeSet<Initiator>,
    #[serde(deserialize_with = "duration")]
    min_lifetime: Duration,
    no_loopback: bool,
}

/// Reads an output's filter.
///
/// # Errors
/// A key is unknown, or its value is none that a connection can have.
pub fn output_filter<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ConnectionFilter, D::Error> {
    let OutputFilter {
        local_ports,
        peer_ports,
        processes,
        containers,
        pods,
        namespaces,
        path,
        cause,
        initiator,
        min_lifetime,
        no_loopback,
    } = OutputFilter::deserialize(deserializer)?;
    Ok(ConnectionFilter {
        local_ports,
        peer_ports,
        containers: ContainerFilter {
            containers,
            pods,
            namespaces,
        },
        processes,
        paths: path,
        causes: cause,
        initiators: initiator,
        min_lifetime: min_lifetime.into(),
        no_loopback,
        ..ConnectionFilter::default()
    })
}

fn ports<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<u16>, D::Error> {
    BTreeSet::<ConfiguredPort>::deserialize(deserializer)
        .map(|ports| ports.into_iter().map(|port| port.0).collect())
}

/// The number is none of a port that a connection can have.
#[derive(Debug, thiserror::Error)]
#[error("no connection has port {0}: ports are 1 to 65535")]
struct NoSuchPort(i64);

/// A TCP port that a connection can have.
#[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "i64")]
struct ConfiguredPort(u16);

impl TryFrom<i64> for ConfiguredPort {
    type Error = NoSuchPort;

    fn try_from(port: i64) -> Result<Self, Self::Error> {
        match u16::try_from(port) {
            Ok(port @ 1..) => Ok(Self(port)),
            _ => Err(NoSuchPort(port)),
        }
    }
}

fn ip_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<IpVersion>, D::Error> {
    match Option::<i64>::deserialize(deserializer)? {
        None => Ok(None),
        Some(4) => Ok(Some(IpVersion::V4)),
        Some(6) => Ok(Some(IpVersion::V6)),
        Some(_) => Err(de::Error::custom("there are IP versions 4 and 6")),
    }
}

/// The kernel keeps 15 bytes of a name (`TASK_COMM_LEN`): a longer one would never match.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let names = BTreeSet::<String>::deserialize(deserializer)?;
    match names.iter().find(|name| !(1..=15).contains(&name.len())) {
        Some(name) => Err(de::Error::custom(format!(
            "no process is called {name:?}: the kernel keeps 1 to 15 bytes of a name"
        ))),
        None => Ok(names),
    }
}

fn names_of_containers<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeSet<String>, D::Error> {
    let names = BTreeSet::<String>::deserialize(deserializer)?;
    if names.contains("") {
        return Err(de::Error::custom("a name is not empty"));
    }
    Ok(names)
}

fn namespaces<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
    let names = BTreeSet::<String>::deserialize(deserializer)?;
    let names = names.iter().map(|name| kubernetes_namespace(name));
    names.collect::<Result<_, _>>().map_err(de::Error::custom)
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;
    use crate::output::samples;
    use tcpclose_core::finding::{Finding, Loss, LossLocation};
    use tcpclose_core::types::Nanos;

    fn filter(toml: &str) -> ConnectionFilter {
        output_filter(toml::Deserializer::parse(toml).expect("TOML")).expect("a filter")
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
            duration: None,
        })
    }

    #[test]
    fn an_empty_filter_passes_everything() {
        let unknown = Finding::Close(Box::new(samples::unknown()));
        assert!(filter("").matches(&close()));
        assert!(filter("").matches(&unknown));
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
            assert_eq!(filter(key).matches(&close()), wanted, "{key}");
            assert!(filter(key).matches(&loss()), "a loss is of no connection");
        }
    }

    #[test]
    fn unknown_values_do_not_match() {
        let unknown = Finding::Close(Box::new(samples::unknown()));
        assert!(!filter("processes = ['sshd']").matches(&unknown));
        assert!(!filter("min_lifetime = '1us'").matches(&unknown));
        assert!(filter("path = ['unknown']").matches(&unknown));
        assert!(filter("no_loopback = true").matches(&unknown));
    }

    #[test]
    fn a_stuck_socket_has_no_lifetime_yet() {
        let leak = Finding::Stuck(Box::new(samples::resolved()));
        assert!(filter("min_lifetime = '1h'").matches(&leak));
        assert!(!filter("local_ports = [1]").matches(&leak));
    }

    #[test]
    fn containers_pods_and_kubernetes_namespaces_are_selected_by_name() {
        let filter =
            filter("containers = ['nginx']\npods = ['web-0']\nnamespaces = ['shop', 'default']");
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected = ContainerFilter {
            containers: names(&["nginx"]),
            pods: names(&["web-0"]),
            namespaces: names(&["shop", "default"]),
        };
        assert_eq!(filter.containers, expected);
        for (key, why) in [
            ("namespaces = ['4026531840']", "use netns"),
            ("namespaces = ['Shop']", "no Kubernetes namespace"),
            ("pods = ['']", "a name is not empty"),
        ] {
            let toml = toml::Deserializer::parse(key).expect("TOML");
            let error = output_filter(toml).expect_err("refused").to_string();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_json() {
        for &path in ClosePath::VARIANTS {
            let read = filter(&format!("path = ['{}']", path));
            assert_eq!(read.paths, BTreeSet::from([path]));
        }
        for &initiator in Initiator::VARIANTS {
            let read = filter(&format!("initiator = ['{}']", initiator));
            assert_eq!(read.initiators, BTreeSet::from([initiator]));
        }
    }
}
