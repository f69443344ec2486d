//! The filter on the command line: the same flags for every subcommand.

use std::time::Duration;

use strum::VariantArray;
use thiserror::Error;

use super::config::KernelFilter;
use super::containers::kubernetes_namespace;
use super::port_arg::{self, PortArg};
use crate::duration_arg::duration;
use crate::output::duration::push_with_unit;
use tcpclose_core::container_filter::ContainerFilter;
use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::finding::{Cause, ClosePath};
use tcpclose_core::types::{IpVersion, NetNs};
use tcpclose_sys::kernel::netns::{self, NetNsError, NetNsHandle};

/// The filters that every command has.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only connections of processes with these names, such as `nginx`
    #[arg(value_name = "NAME", value_parser = name)]
    processes: Vec<String>,
    /// Only connections with these ports, at either end: numbers, ranges (8000-8100), services
    #[arg(long = "port", value_name = "PORT,...", value_delimiter = ',',
          value_parser = PortArg::parse)]
    ports: Vec<PortArg>,
    /// Leave out connections of this host with itself over loopback addresses
    #[arg(long)]
    no_loopback: bool,
    /// Only connections of these processes
    #[arg(short, long = "pid", value_name = "PID,...", value_delimiter = ',', value_parser = pid)]
    pids: Vec<u32>,
    /// Only connections of processes in these containers: their names or ids (12 digits are enough)
    #[arg(long = "container", value_name = "NAME,...", value_delimiter = ',', value_parser = name)]
    containers: Vec<String>,
    /// Only connections of processes in these Kubernetes pods: their names or UIDs
    #[arg(long = "pod", value_name = "NAME,...", value_delimiter = ',', value_parser = name)]
    pods: Vec<String>,
    /// Only connections of pods in these Kubernetes namespaces (a network namespace: --netns)
    #[arg(long = "namespace", value_name = "NAME,...", value_delimiter = ',',
          value_parser = kubernetes_namespace)]
    namespaces: Vec<String>,
    #[command(flatten)]
    pub(crate) kernel: KernelFilterArgs,
}

/// Filters on how a connection closed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct CloseFilterArgs {
    /// Only closes of these kinds, such as `reset,timeout`
    #[arg(long = "path", value_name = "PATH,...", value_delimiter = ',', value_parser = word::<ClosePath>)]
    paths: Vec<ClosePath>,
    /// Only closes with these causes, such as `refused,no_local_port`
    #[arg(long = "cause", value_name = "CAUSE,...", value_delimiter = ',', value_parser = word::<Cause>)]
    causes: Vec<Cause>,
    /// Only connections that lived at least this long, such as 1s
    #[arg(long = "min-life", value_name = "TIME", value_parser = duration)]
    min_lifetime: Option<Duration>,
}

impl CloseFilterArgs {
    /// Adds these filters to others.
    pub(crate) fn add_to(&self, filter: ConnectionFilter) -> ConnectionFilter {
        ConnectionFilter {
            paths: self.paths.iter().copied().collect(),
            causes: self.causes.iter().copied().collect(),
            min_lifetime: self.min_lifetime.unwrap_or_default().into(),
            ..filter
        }
    }

    /// Returns the filters as they were given, such as `--path reset`.
    pub(crate) fn described(&self) -> Vec<String> {
        let Self {
            paths,
            causes,
            min_lifetime,
        } = self;
        let least = min_lifetime.map(|least| {
            let mut text = "--min-life ".to_owned();
            push_with_unit(&mut text, least.into());
            text
        });
        let all = [list("--path", paths), list("--cause", causes), least];
        all.into_iter().flatten().collect()
    }
}

/// Returns a flag with its values, if there are any.
fn list(flag: &str, values: &[impl ToString]) -> Option<String> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    (!values.is_empty()).then(|| format!("{flag} {}", values.join(",")))
}

/// A word that is none of those that a filter takes.
#[derive(Debug, Error)]
#[error("the words are {all}")]
struct UnknownWord {
    all: String,
}

/// Reads one of a set of words.
fn word<T: VariantArray + Copy + Into<&'static str>>(text: &str) -> Result<T, UnknownWord> {
    let words = || T::VARIANTS.iter().copied();
    let found = words().find(|word| (*word).into() == text);
    found.ok_or_else(|| UnknownWord {
        all: words().map(Into::into).collect::<Vec<&str>>().join(", "),
    })
}

/// The filters that the kernel applies.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct KernelFilterArgs {
    /// Only connections with these local ports
    #[arg(short = 'L', long, value_name = "PORT,...", value_delimiter = ',',
          value_parser = PortArg::parse)]
    local_ports: Vec<PortArg>,
    /// Only connections with these peer ports
    #[arg(short = 'D', long = "peer-ports", visible_alias = "remote-ports", value_name = "PORT,...",
          value_delimiter = ',', value_parser = PortArg::parse)]
    peer_ports: Vec<PortArg>,
    /// Only IPv4, including v4-mapped connections of IPv6 sockets
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Only this network namespace: its inode number, a path to it, or its name in `ip netns`
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
}

fn pid(text: &str) -> Result<u32, &'static str> {
    let pid = text.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or("a process id is a number of at least 1")
}

fn name(words: &str) -> Result<String, &'static str> {
    let name = Some(words).filter(|name| !name.is_empty());
    name.map(str::to_owned).ok_or("a name is not empty")
}

impl FilterArgs {
    /// Returns the part that the kernel does not apply.
    pub(crate) fn user_space_part(&self) -> ConnectionFilter {
        ConnectionFilter {
            ports: port_arg::ports(&self.ports),
            pids: self.pids.iter().copied().collect(),
            processes: self.processes.iter().cloned().collect(),
            no_loopback: self.no_loopback,
            containers: ContainerFilter {
                containers: self.containers.iter().cloned().collect(),
                pods: self.pods.iter().cloned().collect(),
                namespaces: self.namespaces.iter().cloned().collect(),
            },
            ..ConnectionFilter::default()
        }
    }

    /// Returns the whole filter for what is on this host now.
    pub(crate) fn live(&self) -> Result<ConnectionFilter, NetNsError> {
        Ok(self.with_kernel_part(self.kernel.to_config().live()?))
    }

    /// Returns the whole filter for a recording, whose kernel had other filters. A namespace may be
    /// gone by now, so a number is taken as it is.
    pub(crate) fn recorded(&self) -> Result<ConnectionFilter, NetNsError> {
        let number = self.kernel.netns.as_ref();
        match number.and_then(|text| NetNs::new(text.parse().ok()?)) {
            Some(number) => Ok(self.with_kernel_part(ConnectionFilter {
                netns: Some(number),
                ..self.kernel.to_config().without_namespace()
            })),
            None => self.live(),
        }
    }

    /// Returns a note for the user about filters that no connection is likely to pass.
    pub(crate) fn note_on_contradictions(&self) -> Option<String> {
        self.hint().map(|hint| {
            let ports = hint.trim_start_matches("--port ");
            format!(
                "-L and -D must both hold, and few connections have port {ports} at both ends: \
                 did you mean {hint}?"
            )
        })
    }

    /// Returns a note for the user about what cannot be found in a recording.
    pub(crate) fn note_on_recordings(&self) -> Option<&'static str> {
        let ContainerFilter {
            containers,
            pods,
            namespaces,
        } = self.user_space_part().containers;
        let is_named = !(containers.is_empty() && pods.is_empty() && namespaces.is_empty());
        is_named.then_some(
            "recordings have no names of containers, pods and Kubernetes namespaces: --container \
             takes an id there, and --pod a UID",
        )
    }

    /// Returns the filters as they were given, such as `-L 9000`.
    pub(crate) fn described(&self) -> Vec<String> {
        let Self {
            processes,
            ports,
            no_loopback,
            pids,
            containers,
            pods,
            namespaces,
            kernel,
        } = self;
        let KernelFilterArgs {
            local_ports,
            peer_ports,
            ipv4,
            ipv6,
            netns,
        } = kernel;
        let flag = |flag: &str, is_given: &bool| is_given.then(|| flag.to_owned());
        let all = [
            list("-p", pids),
            list("--port", ports),
            list("-L", local_ports),
            list("-D", peer_ports),
            flag("-4", ipv4),
            flag("-6", ipv6),
            list("--netns", netns.as_slice()),
            list("--container", containers),
            list("--pod", pods),
            list("--namespace", namespaces),
            flag("--no-loopback", no_loopback),
        ];
        let names = (!processes.is_empty()).then(|| processes.join(" "));
        names.into_iter().chain(all.into_iter().flatten()).collect()
    }

    /// Returns whether some of the filters are the kernel's, so that the core knows nothing of the
    /// connections that they leave out.
    pub(crate) fn has_kernel_part(&self) -> bool {
        let KernelFilterArgs {
            local_ports,
            peer_ports,
            ipv4,
            ipv6,
            netns,
        } = &self.kernel;
        let by_port = !(local_ports.is_empty() && peer_ports.is_empty());
        by_port || *ipv4 || *ipv6 || netns.is_some()
    }

    /// Returns whether a network namespace is given.
    pub(crate) fn has_netns(&self) -> bool {
        self.kernel.netns.is_some()
    }

    /// Returns whether names of containers decide.
    pub(crate) fn has_containers(&self) -> bool {
        !self.user_space_part().containers.is_all()
    }

    /// Returns the filter that may be meant where -L and -D have the same ports.
    pub(crate) fn hint(&self) -> Option<String> {
        let KernelFilterArgs {
            local_ports,
            peer_ports,
            ..
        } = &self.kernel;
        let ports = local_ports.iter().filter(|port| peer_ports.contains(port));
        let ports: Vec<String> = ports.map(PortArg::to_string).collect();
        (!ports.is_empty()).then(|| format!("--port {}", ports.join(",")))
    }

    fn with_kernel_part(&self, kernel: ConnectionFilter) -> ConnectionFilter {
        let ConnectionFilter {
            netns,
            local_ports,
            peer_ports,
            ip,
            ..
        } = kernel;
        ConnectionFilter {
            netns,
            local_ports,
            peer_ports,
            ip,
            ..self.user_space_part()
        }
    }
}

impl KernelFilterArgs {
    /// Returns the only namespace that a scan reads, if one is given, with its cookie where that is
    /// known: it distinguishes the namespace from a later one with its number.
    pub(crate) fn scanned_namespace(
        &self,
    ) -> Result<(Option<NetNsHandle>, Option<u64>), NetNsError> {
        let netns = self.to_config().namespace()?;
        let cookie = netns.as_ref().map(|handle| handle.enter(netns::cookie));
        Ok((netns, cookie.and_then(|entered| entered.ok()?.ok())))
    }

    /// Returns the same filter in the form of the configuration.
    pub(crate) fn to_config(&self) -> KernelFilter {
        KernelFilter {
            local_ports: port_arg::ports(&self.local_ports),
            peer_ports: port_arg::ports(&self.peer_ports),
            ip_version: match (self.ipv4, self.ipv6) {
                (true, _) => Some(IpVersion::V4),
                (_, true) => Some(IpVersion::V6),
                _ => None,
            },
            netns: self.netns.clone(),
        }
    }
}
