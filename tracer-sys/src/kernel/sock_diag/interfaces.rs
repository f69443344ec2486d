//! Lists the interfaces of the namespace that a client of sock_diag reads: `RTM_GETLINK` of
//! rtnetlink(7).

use std::os::fd::OwnedFd;

use rustix::net::Protocol;

use super::error::DiagError;
use super::message::{NetlinkBody, NetlinkMessages, read_u32};
use super::netlink::{self, receive, send};
use crate::kernel::clock::now;
use tcpclose_core::types::{InterfaceIndex, Nanos};

/// The protocol with the number 0 has no [`Protocol`].
const NETLINK_ROUTE: Option<Protocol> = None;

/// `RTM_NEWLINK` and `RTM_GETLINK` of `linux/rtnetlink.h`.
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;

/// `IFLA_EXT_MASK` of `linux/if_link.h`, and `RTEXT_FILTER_SKIP_STATS` of `linux/rtnetlink.h`.
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// Netlink header, `struct ifinfomsg` and an attribute of four bytes.
const REQUEST_LEN: usize = 16 + 16 + 8;

/// How long a list is used: containers bring interfaces and take them away.
const FRESH: Nanos = Nanos::from_secs(1);

/// Lists the interfaces of the namespace that it was opened in.
#[derive(Debug)]
pub(super) struct Interfaces {
    fd: OwnedFd,
    indexes: Vec<InterfaceIndex>,
    listed_at: Option<Nanos>,
    sequence: u32,
}

impl Interfaces {
    /// Opens a socket in the calling thread's namespace. The interfaces are listed when they are
    /// first needed.
    pub fn open() -> Result<Self, DiagError> {
        Ok(Self {
            fd: netlink::open(NETLINK_ROUTE)?,
            indexes: Vec::new(),
            listed_at: None,
            sequence: 0,
        })
    }

    /// Returns their indexes, as of a second ago at most.
    pub fn indexes(&mut self, buffer: &mut Vec<u8>) -> Result<&[InterfaceIndex], DiagError> {
        let is_fresh = |listed_at: Nanos| now() - listed_at < FRESH;
        if !self.listed_at.is_some_and(is_fresh) {
            self.list(buffer)?;
            self.listed_at = Some(now());
        }
        Ok(&self.indexes)
    }

    fn list(&mut self, buffer: &mut Vec<u8>) -> Result<(), DiagError> {
        self.listed_at = None;
        self.indexes.clear();
        self.sequence = self.sequence.wrapping_add(1);
        send(&self.fd, &request(self.sequence))?;
        loop {
            let length = receive(&self.fd, buffer)?;
            for message in NetlinkMessages::of(&buffer[..length]) {
                let message = message?;
                if message.sequence != self.sequence {
                    continue;
                }
                match message.body {
                    NetlinkBody::Data(RTM_NEWLINK, link) => {
                        let index = read_u32(link, 4)
                            .ok_or(DiagError::Malformed("an interface's description"))?;
                        self.indexes.extend(InterfaceIndex::new(index));
                    }
                    NetlinkBody::Done(0) => return Ok(()),
                    NetlinkBody::Done(errno) | NetlinkBody::Error(errno) if errno != 0 => {
                        return Err(DiagError::refused(errno));
                    }
                    NetlinkBody::Overrun => return Err(DiagError::Lost),
                    NetlinkBody::Data(..)
                    | NetlinkBody::Noop
                    | NetlinkBody::Done(_)
                    | NetlinkBody::Error(_) => {}
                }
            }
        }
    }
}

/// Builds the request for a dump of all interfaces, without their counters.
fn request(sequence: u32) -> [u8; REQUEST_LEN] {
    let mut request = [0; REQUEST_LEN];
    let mut put = |at: usize, bytes: &[u8]| {
        request[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
    put(0, &(REQUEST_LEN as u32).to_ne_bytes());
    put(4, &RTM_GETLINK.to_ne_bytes());
    put(6, &flags.to_ne_bytes());
    put(8, &sequence.to_ne_bytes());
    put(32, &8_u16.to_ne_bytes());
    put(34, &IFLA_EXT_MASK.to_ne_bytes());
    put(36, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_interface_is_listed_once() -> Result<(), Box<dyn std::error::Error>> {
        let mut expected = Vec::new();
        for entry in std::fs::read_dir("/sys/class/net")? {
            if let Ok(text) = std::fs::read_to_string(entry?.path().join("ifindex")) {
                expected.push(text.trim().parse::<u32>()?);
            }
        }
        expected.sort_unstable();
        let mut interfaces = Interfaces::open()?;
        let mut buffer = vec![0; 64 * 1024];
        for _ in 0..2 {
            let indexes = interfaces.indexes(&mut buffer)?.iter();
            let mut listed: Vec<u32> = indexes.map(|index| index.get()).collect();
            listed.sort_unstable();
            assert_eq!(listed, expected);
            interfaces.listed_at = None;
        }
        Ok(())
    }
}
