//! Two network namespaces with a third one between them that routes, and may do other things.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;

use super::firewall::feed;
use super::program;
use super::requirements;
use super::watch::Watch;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::process::ChildProcess;
use tcpclose_kit::skip::skip;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 92, 0, 2);

/// The address of the middle that the client sees.
pub const MIDDLE: Ipv4Addr = Ipv4Addr::new(10, 91, 0, 1);

/// The three namespaces.
pub struct Routed {
    pub client: NetNs,
    pub middle: NetNs,
    pub server: NetNs,
    /// Processes by which the namespaces can be found.
    _residents: [ChildProcess; 2],
}

impl Routed {
    /// Makes them; `None` (and reported) where that is not possible, or the program cannot trace.
    pub fn new() -> Option<Self> {
        if !requirements::can_trace() {
            return None;
        }
        let (client, middle, server) = (NetNs::new(), NetNs::new(), NetNs::new());
        let path = |ns: &NetNs| {
            let fd = ns.as_fd().as_raw_fd();
            format!("/proc/{}/fd/{fd}", std::process::id())
        };
        let to_client = "10.91.0.1/24";
        let to_server = "10.92.0.1/24";
        let links = format!(
            "link add name to-client type veth peer name veth0 netns {}\n\
             link add name to-server type veth peer name veth0 netns {}\n\
             addr add {to_client} dev to-client\naddr add {to_server} dev to-server\n\
             link set dev to-client up\nlink set dev to-server up\n",
            path(&client),
            path(&server)
        );
        let end = |address, gateway| {
            format!(
                "addr add {address}/24 dev veth0\nlink set dev veth0 up\n\
                 route add default via {gateway}\n"
            )
        };
        let is_linked = ip(&middle, &links)
            && ip(&client, &end(CLIENT, "10.91.0.1"))
            && ip(&server, &end(SERVER, "10.92.0.1"));
        if !is_linked {
            skip("no ip, or no veth");
            return None;
        }
        let forward = "/proc/sys/net/ipv4/ip_forward";
        let forwards = middle.run(|| fs::write(forward, "1"));
        forwards.unwrap_or_else(|error| panic!("{forward}: {error}"));
        let resident = |ns: &NetNs| ChildProcess::spawn(ns.command("sleep").arg("600"));
        let residents = [resident(&client), resident(&server)];
        Some(Self {
            client,
            middle,
            server,
            _residents: residents,
        })
    }

    /// Where a server can listen.
    pub fn listen_address() -> SocketAddr {
        (SERVER, 0).into()
    }

    /// A listener in the server's namespace.
    pub fn listen(&self) -> (TcpListener, SocketAddr) {
        let listener = self
            .server
            .run(|| TcpListener::bind(Self::listen_address()));
        let listener = listener.expect("listening");
        let address = listener.local_addr().expect("a bound socket");
        (listener, address)
    }

    /// Watches connections with this port, in all namespaces.
    pub fn watch(port: u16, args: &[&str]) -> Watch {
        let mut watch = Command::new(program::path());
        watch.args(["watch", "--format", "json", "--port", &port.to_string()]);
        Watch::spawn(watch.args(args))
    }
}

fn ip(ns: &NetNs, batch: &str) -> bool {
    feed(ns, &["ip", "-batch", "-"], batch)
}
