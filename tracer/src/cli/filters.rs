//! Which connections are meant: the same words for every subcommand.

use std::collections::BTreeSet;

use tcpclose_core::types::{IpVersion, NetNs};
use tcpclose_sys::kernel::loader::Options;
use tcpclose_sys::kernel::netns::{self, NetNsError, NetNsHandle};

/// The filters of the command line.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Filters {
    /// Only connections of these processes
    #[arg(short, long = "pid", value_name = "PID,...", value_delimiter = ',', value_parser = pid)]
    pub(super) pids: Vec<u32>,
    #[command(flatten)]
    pub(super) ends: Ends,
}

/// Those of them that the kernel applies.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Ends {
    /// Only these local ports
    #[arg(short = 'L', long, value_name = "PORT,...", value_delimiter = ',', value_parser = port)]
    local_ports: Vec<u16>,
    /// Only these ports of the peer
    #[arg(short = 'D', long = "peer-ports", visible_alias = "remote-ports", value_name = "PORT,...",
          value_delimiter = ',', value_parser = port)]
    peer_ports: Vec<u16>,
    /// Only IPv4 (v4-mapped connections of IPv6 sockets too)
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Only IPv6
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Only this network namespace: an inode number, a path, or a name of `ip netns`
    #[arg(long, value_name = "NETNS")]
    netns: Option<String>,
}

fn pid(words: &str) -> Result<u32, &'static str> {
    let pid = words.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or("a process id is a number from 1 on")
}

fn port(words: &str) -> Result<u16, &'static str> {
    let port = words.parse().ok().filter(|port| *port > 0);
    port.ok_or("a port is a number from 1 to 65535")
}

/// How many, at least one.
pub(super) fn count(words: &str) -> Result<u64, &'static str> {
    let count = words.parse().ok().filter(|count| *count > 0);
    count.ok_or("it must be a number from 1 on")
}

impl Ends {
    /// Empty for all.
    pub(super) fn local_ports(&self) -> BTreeSet<u16> {
        self.local_ports.iter().copied().collect()
    }

    /// Empty for all.
    pub(super) fn peer_ports(&self) -> BTreeSet<u16> {
        self.peer_ports.iter().copied().collect()
    }

    /// `None` for both versions.
    pub(super) fn ip(&self) -> Option<IpVersion> {
        match (self.ipv4, self.ipv6) {
            (true, _) => Some(IpVersion::V4),
            (_, true) => Some(IpVersion::V6),
            _ => None,
        }
    }

    /// `None` for all namespaces.
    pub(super) fn namespace(&self) -> Result<Option<NetNsHandle>, NetNsError> {
        self.netns.as_deref().map(netns::by_user).transpose()
    }

    /// The kernel's part of a session's options.
    pub(super) fn options(&self) -> Result<Options, NetNsError> {
        Ok(Options {
            netns: self.namespace()?.map(|handle| handle.id()),
            local_ports: self.local_ports(),
            peer_ports: self.peer_ports(),
            ip: self.ip(),
            ..Options::default()
        })
    }

    /// The same for what was recorded: a namespace may be gone by now, so a number is taken as it is.
    pub(super) fn options_of_recording(&self) -> Result<Options, NetNsError> {
        let number = self.netns.as_ref().and_then(|words| words.parse().ok());
        match number {
            Some(number) => {
                let rest = Self {
                    netns: None,
                    ..self.clone()
                };
                Ok(Options {
                    netns: Some(NetNs(number)),
                    ..rest.options()?
                })
            }
            None => self.options(),
        }
    }
}
