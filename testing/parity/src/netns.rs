//! The network that closes are made in: two ends, and a wire between them that can lose segments.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::{io, thread};

use anyhow::{Context as _, Result, bail};
use tcpclose_parity::closing::End;

/// The interface of either end.
pub const INTERFACE: &str = "veth0";

/// A network namespace. It is gone when this and all sockets made in it are.
pub struct NetNs(File);

impl NetNs {
    /// Makes a namespace. The calling thread stays where it is.
    fn new() -> Result<Self> {
        let make = || {
            // SAFETY: takes no pointers.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
            File::open("/proc/thread-self/ns/net")
        };
        let handle = thread::scope(|scope| scope.spawn(make).join().expect("no panic inside"));
        Ok(Self(handle.context("cannot make a network namespace")?))
    }

    /// What `tcpclose --netns` takes.
    pub fn inode(&self) -> Result<u64> {
        Ok(self.0.metadata().context("the namespace's inode")?.ino())
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) -> io::Result<()> {
        // SAFETY: takes no pointers; the descriptor is borrowed for the call.
        check(unsafe { libc::setns(self.0.as_raw_fd(), libc::CLONE_NEWNET) })
    }

    /// Runs the closure inside. Sockets and processes it makes belong to the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let inside = || self.enter().map(|()| work());
        let done = thread::scope(|scope| scope.spawn(inside).join().expect("no panic inside"));
        done.context("cannot enter a network namespace")
    }

    /// Feeds `commands` to the standard input of a program inside.
    fn feed(&self, program: &[&str], commands: &str) -> Result<()> {
        self.run(|| {
            let mut child = Command::new(program[0])
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
                let said = String::from_utf8_lossy(&output.stderr);
                bail!("{} failed: {said}", program[0]);
            }
            Ok(())
        })?
    }
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Two ends joined by veth pairs over a bridge in a namespace of its own.
///
/// Segments get lost on the bridge, where neither end can know of it: an end's own capture shows all that the end sent,
/// lost later or not, and all that reached it. Dropped in the sender's output hook, a segment would be missing in the
/// sender's capture, and the sender's TCP would be told; dropped in the receiver's ingress hook, it would stand in the
/// receiver's capture, which is made before that hook.
pub struct Net {
    client: NetNs,
    server: NetNs,
    _wire: NetNs,
}

impl Net {
    /// Lays it. Of FINs and of ACKs without data `lost` percent get lost.
    pub fn lay(lost: u32) -> Result<Self> {
        let (client, server, wire) = (NetNs::new()?, NetNs::new()?, NetNs::new()?);
        wire.feed(
            &["ip", "-batch", "-"],
            "link add name bridge type bridge mcast_snooping 0\nlink set dev bridge up\n",
        )?;
        for (end, ns) in [(End::Client, &client), (End::Server, &server)] {
            let port = format!("to-{end}");
            let path = format!("/proc/{}/fd/{}", std::process::id(), ns.0.as_raw_fd());
            wire.feed(
                &["ip", "-batch", "-"],
                &format!(
                    "link add name {port} type veth peer name {INTERFACE} netns {path}\n\
                     link set dev {port} master bridge\nlink set dev {port} up\n"
                ),
            )?;
            let (v4, v6) = (address(end, false), address(end, true));
            ns.feed(
                &["ip", "-batch", "-"],
                &format!(
                    "link set dev lo up\nlink set dev {INTERFACE} up\n\
                     addr add {v4}/24 dev {INTERFACE}\naddr add {v6}/64 dev {INTERFACE} nodad\n"
                ),
            )?;
        }
        if lost > 0 {
            wire.feed(&["nft", "-f", "-"], &losses(lost))?;
        }
        Ok(Self {
            client,
            server,
            _wire: wire,
        })
    }

    /// The namespace of an end.
    pub fn of(&self, end: End) -> &NetNs {
        match end {
            End::Client => &self.client,
            End::Server => &self.server,
        }
    }
}

/// The address of an end.
pub fn address(end: End, ipv6: bool) -> IpAddr {
    let last = match end {
        End::Client => 1,
        End::Server => 2,
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
