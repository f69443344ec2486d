//! Lists the interfaces of the namespace that a client of sock_diag reads: `RTM_GETLINK` of
//! rtnetlink(7).

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;

use rustix::net::Protocol;

use super::error::DiagError;
use super::message::{NetlinkBody, read_u32};
use super::netlink::{self, receive_answer, send};
use super::request::{HEADER_LEN, NetlinkRequest};
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
const REQUEST_LEN: usize = HEADER_LEN + 16 + 8;

/// How long a list is used: containers bring interfaces and take them away.
const MAX_LIST_AGE: Nanos = Nanos::from_secs(1);

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
        let is_fresh = |listed_at: Nanos| now() - listed_at < MAX_LIST_AGE;
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
        receive_answer::<()>(&self.fd, buffer, self.sequence, |message| {
            if let NetlinkBody::Data(RTM_NEWLINK, link) = message.body {
                let index =
                    read_u32(link, 4).ok_or(DiagError::Malformed("an interface's description"))?;
                self.indexes.extend(InterfaceIndex::new(index));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }
}

/// Builds the request for a dump of all interfaces, without their counters.
fn request(sequence: u32) -> [u8; REQUEST_LEN] {
    let mut request = NetlinkRequest::new(RTM_GETLINK, libc::NLM_F_DUMP, sequence);
    request.put(32, &8_u16.to_ne_bytes());
    request.put(34, &IFLA_EXT_MASK.to_ne_bytes());
    request.put(36, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    request.into_bytes()
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
