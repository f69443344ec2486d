//! The network that closes are made in: two endpoints, and two wires between them that can lose
//! segments: a bridge of the kernel, and a queue in user space.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tcpclose_kit::netns::NetNs;
use tcpclose_parity::segment::Endpoint;

use crate::queue::{self, Queue};

/// The interface of either endpoint at the bridge.
const INTERFACE: &str = "veth0";

/// What joins the endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The kernel's bridge: fast, and segments may follow each other as one (TSO).
    Bridge,
    /// The queue, which treats the segments of each connection as its plan has it.
    Queue,
}

/// Feeds `commands` to the standard input of a program inside the namespace.
fn feed(netns: &NetNs, program: &[&str], commands: &str) -> Result<()> {
    let mut child = netns
        .command(program[0])
        .args(&program[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", program[0]))?;
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(commands.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {message}", program[0]);
    }
    Ok(())
}

/// Two endpoints joined by veth pairs over a bridge in a namespace of its own, and by the queue.
///
/// Segments get lost on the bridge or in the queue, where neither endpoint notices: its own capture
/// shows all that an endpoint sent, lost later or not, and all that reached it. Dropped in the
/// sender's output hook, a segment would be missing in the sender's capture, and the sender's TCP
/// would learn of it; dropped in the receiver's ingress hook, it would stand in the receiver's
/// capture, which is made before that hook.
pub struct Network {
    client: NetNs,
    server: NetNs,
    _bridge: NetNs,
    queue: Queue,
}

impl Network {
    /// Creates it. `lost` percent of the FINs and of the ACKs without data get lost.
    pub fn create(lost: u32) -> Result<Self> {
        let make = || NetNs::try_new().context("cannot make a network namespace");
        let (client, server, bridge) = (make()?, make()?, make()?);
        let queue = Queue::create(&client, &server)?;
        feed(
            &bridge,
            &["ip", "-batch", "-"],
            "link add name bridge type bridge mcast_snooping 0\nlink set dev bridge up\n",
        )?;
        for (endpoint, ns) in [(Endpoint::Client, &client), (Endpoint::Server, &server)] {
            let port = format!("to-{endpoint}");
            let fd = ns.as_fd().as_raw_fd();
            let path = format!("/proc/{}/fd/{fd}", std::process::id());
            feed(
                &bridge,
                &["ip", "-batch", "-"],
                &format!(
                    "link add name {port} type veth peer name {INTERFACE} netns {path}\n\
                     link set dev {port} master bridge\nlink set dev {port} up\n"
                ),
            )?;
            let mut commands = "link set dev lo up\n".to_owned();
            for (wire, interface) in [(Wire::Bridge, INTERFACE), (Wire::Queue, queue::INTERFACE)] {
                let [v4, v6] = [false, true].map(|ipv6| address(wire, endpoint, ipv6));
                // Longer than what a closed window has waiting.
                commands += &format!(
                    "link set dev {interface} up txqueuelen 5000\n\
                     addr add {v4}/24 dev {interface}\naddr add {v6}/64 dev {interface} nodad\n"
                );
            }
            feed(ns, &["ip", "-batch", "-"], &commands)?;
        }
        if lost > 0 {
            feed(&bridge, &["nft", "-f", "-"], &losses(lost))?;
        }
        Ok(Self {
            client,
            server,
            _bridge: bridge,
            queue,
        })
    }

    /// The queue between the endpoints.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The namespace of an endpoint.
    pub fn namespace_of(&self, endpoint: Endpoint) -> &NetNs {
        match endpoint {
            Endpoint::Client => &self.client,
            Endpoint::Server => &self.server,
        }
    }
}

/// The address of an endpoint at a wire.
pub fn address(wire: Wire, endpoint: Endpoint, ipv6: bool) -> IpAddr {
    let last = match endpoint {
        Endpoint::Client => 1,
        Endpoint::Server => 2,
    };
    let (v4, v6) = match wire {
        Wire::Bridge => (77, 0xfd77),
        Wire::Queue => (78, 0xfd78),
    };
    if ipv6 {
        Ipv6Addr::new(v6, 0, 0, 0, 0, 0, 0, last).into()
    } else {
        Ipv4Addr::new(10, v4, 0, last as u8).into()
    }
}

/// Returns whether an address is one of the endpoint's.
pub fn is_at(address: IpAddr, endpoint: Endpoint) -> bool {
    let wires = [Wire::Bridge, Wire::Queue];
    wires.iter().any(|wire| {
        [false, true]
            .map(|ipv6| self::address(*wire, endpoint, ipv6))
            .contains(&address)
    })
}

/// An ACK without data is a segment with no other flag, and no longer than headers with all
/// options.
fn losses(lost: u32) -> String {
    const MAX_LENGTH_WITHOUT_DATA: usize = 40 + 20 + 40;
    format!(
        "table bridge wire {{\n chain losses {{\n  type filter hook forward priority 0; policy accept;\n  \
         tcp flags & fin == fin numgen random mod 100 < {lost} drop\n  \
         tcp flags & (fin | syn | rst | psh | ack) == ack meta length <= {MAX_LENGTH_WITHOUT_DATA} numgen random mod 100 < {lost} drop\n \
         }}\n}}\n"
    )
}
