//! The filter on the command line: the same flags for every subcommand.

use tcpclose_core::filter::ConnectionFilter;
use tcpclose_core::types::{IpVersion, NetNs};
use tcpclose_sys::kernel::netns::{self, NetNsError, NetNsHandle};

/// All filters.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FilterArgs {
    /// Only connections of these processes
    #[arg(short, long = "pid", value_name = "PID,...", value_delimiter = ',', value_parser = pid)]
    pids: Vec<u32>,
    #[command(flatten)]
    pub(crate) kernel: KernelFilterArgs,
}

/// The filters that the kernel applies.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct KernelFilterArgs {
    /// Only connections with these local ports
    #[arg(short = 'L', long, value_name = "PORT,...", value_delimiter = ',', value_parser = port)]
    local_ports: Vec<u16>,
    /// Only connections with these peer ports
    #[arg(short = 'D', long = "peer-ports", visible_alias = "remote-ports", value_name = "PORT,...",
          value_delimiter = ',', value_parser = port)]
    peer_ports: Vec<u16>,
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

fn pid(words: &str) -> Result<u32, &'static str> {
    let pid = words.parse().ok().filter(|pid| *pid > 0);
    pid.ok_or("a process id is a number of at least 1")
}

fn port(words: &str) -> Result<u16, &'static str> {
    let port = words.parse().ok().filter(|port| *port > 0);
    port.ok_or("a port is a number from 1 to 65535")
}

impl FilterArgs {
    /// Returns the part that the kernel does not apply.
    pub(crate) fn in_user_space(&self) -> ConnectionFilter {
        ConnectionFilter {
            pids: self.pids.iter().copied().collect(),
            ..ConnectionFilter::default()
        }
    }

    /// Returns the whole filter for what is on this host now.
    pub(crate) fn live(&self) -> Result<ConnectionFilter, NetNsError> {
        Ok(self.with_kernel_part(self.kernel.live()?))
    }

    /// Returns the whole filter for a recording, whose kernel had other filters. A namespace may be gone by now, so a
    /// number is taken as it is.
    pub(crate) fn recorded(&self) -> Result<ConnectionFilter, NetNsError> {
        let number = self.kernel.netns.as_ref();
        match number.and_then(|words| NetNs::new(words.parse().ok()?)) {
            Some(number) => Ok(self.with_kernel_part(ConnectionFilter {
                netns: Some(number),
                ..self.kernel.without_namespace()
            })),
            None => self.live(),
        }
    }

    fn with_kernel_part(&self, kernel: ConnectionFilter) -> ConnectionFilter {
        ConnectionFilter {
            pids: self.in_user_space().pids,
            ..kernel
        }
    }
}

impl KernelFilterArgs {
    /// Opens the namespace; `None` for all namespaces.
    pub(crate) fn namespace(&self) -> Result<Option<NetNsHandle>, NetNsError> {
        self.netns.as_deref().map(netns::by_user).transpose()
    }

    /// Returns the filter for what is on this host now.
    pub(crate) fn live(&self) -> Result<ConnectionFilter, NetNsError> {
        Ok(ConnectionFilter {
            netns: self.namespace()?.map(|handle| handle.id()),
            ..self.without_namespace()
        })
    }

    fn without_namespace(&self) -> ConnectionFilter {
        ConnectionFilter {
            local_ports: self.local_ports.iter().copied().collect(),
            peer_ports: self.peer_ports.iter().copied().collect(),
            ip: match (self.ipv4, self.ipv6) {
                (true, _) => Some(IpVersion::V4),
                (_, true) => Some(IpVersion::V6),
                _ => None,
            },
            ..ConnectionFilter::default()
        }
    }
}
