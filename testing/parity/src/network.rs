//! The network that closes are made in: two ends, and a wire between them that can lose segments.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};
use tcpclose_kit::netns::NetNs;
use tcpclose_parity::segment::Endpoint;

/// The interface of either end.
pub const INTERFACE: &str = "veth0";

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

/// Two ends joined by veth pairs over a bridge in a namespace of its own.
///
/// Segments get lost on the bridge, where neither end can know of it: an end's own capture shows all that the end sent,
/// lost later or not, and all that reached it. Dropped in the sender's output hook, a segment would be missing in the
/// sender's capture, and the sender's TCP would learn of it; dropped in the receiver's ingress hook, it would stand in the
/// receiver's capture, which is made before that hook.
pub struct Net {
    client: NetNs,
    server: NetNs,
    _wire: NetNs,
}

impl Net {
    /// Lays it. Of FINs and of ACKs without data `lost` percent get lost.
    pub fn lay(lost: u32) -> Result<Self> {
        let make = || NetNs::try_new().context("cannot make a network namespace");
        let (client, server, wire) = (make()?, make()?, make()?);
        feed(
            &wire,
            &["ip", "-batch", "-"],
            "link add name bridge type bridge mcast_snooping 0\nlink set dev bridge up\n",
        )?;
        for (end, ns) in [(Endpoint::Client, &client), (Endpoint::Server, &server)] {
            let port = format!("to-{end}");
            let fd = ns.as_fd().as_raw_fd();
            let path = format!("/proc/{}/fd/{fd}", std::process::id());
            feed(
                &wire,
                &["ip", "-batch", "-"],
                &format!(
                    "link add name {port} type veth peer name {INTERFACE} netns {path}\n\
                     link set dev {port} master bridge\nlink set dev {port} up\n"
                ),
            )?;
            let (v4, v6) = (address(end, false), address(end, true));
            feed(
                ns,
                &["ip", "-batch", "-"],
                &format!(
                    "link set dev lo up\nlink set dev {INTERFACE} up\n\
                     addr add {v4}/24 dev {INTERFACE}\naddr add {v6}/64 dev {INTERFACE} nodad\n"
                ),
            )?;
        }
        if lost > 0 {
            feed(&wire, &["nft", "-f", "-"], &losses(lost))?;
        }
        Ok(Self {
            client,
            server,
            _wire: wire,
        })
    }

    /// The namespace of an end.
    pub fn of(&self, end: Endpoint) -> &NetNs {
        match end {
            Endpoint::Client => &self.client,
            Endpoint::Server => &self.server,
        }
    }
}

/// The address of an end.
pub fn address(end: Endpoint, ipv6: bool) -> IpAddr {
    let last = match end {
        Endpoint::Client => 1,
        Endpoint::Server => 2,
    };
    if ipv6 {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, last).into()
    } else {
        Ipv4Addr::new(10, 77, 0, last as u8).into()
    }
}

/// An ACK without data is a segment with no other flag, and no longer than headers with all options.
fn losses(lost: u32) -> String {
    const NO_DATA: usize = 40 + 20 + 40;
    format!(
        "table bridge wire {{\n chain losses {{\n  type filter hook forward priority 0; policy accept;\n  \
         tcp flags & fin == fin numgen random mod 100 < {lost} drop\n  \
         tcp flags & (fin | syn | rst | psh | ack) == ack meta length <= {NO_DATA} numgen random mod 100 < {lost} drop\n \
         }}\n}}\n"
    )
}
