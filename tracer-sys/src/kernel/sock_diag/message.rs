//! Parses netlink datagrams (`linux/netlink.h`), without copying and without trusting any length
//! field.

use super::error::DiagError;
use super::request::HEADER_LEN;

const NLMSG_NOOP: u16 = 1;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSG_OVERRUN: u16 = 4;

/// `NLM_F_DUMP_INTR`: the table changed in a way that breaks the dump's consistency.
const DUMP_INTERRUPTED: u16 = 0x10;

/// One message of a datagram.
#[derive(Debug)]
pub struct NetlinkMessage<'a> {
    /// Number of the request it answers.
    pub sequence: u32,
    /// `NLM_F_DUMP_INTR` was set.
    pub interrupted: bool,
    /// The content of the message.
    pub body: NetlinkBody<'a>,
}

/// The content of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum NetlinkBody<'a> {
    /// Data of this message type.
    Data(u16, &'a [u8]),
    /// End of a dump, with 0 or a positive error number.
    Done(i32),
    /// A positive error number, or 0 for an acknowledgement.
    Error(i32),
    /// The kernel has lost data.
    Overrun,
    /// A message to be ignored.
    Noop,
}

impl NetlinkMessage<'_> {
    /// Returns whether this is the last message of an answer.
    pub(super) fn is_last(&self) -> bool {
        match self.body {
            NetlinkBody::Done(_) => true,
            NetlinkBody::Error(errno) => errno != 0,
            NetlinkBody::Data(..) | NetlinkBody::Overrun | NetlinkBody::Noop => false,
        }
    }
}

/// The messages of one datagram. The iterator ends after an error: where the next message starts is
/// unknown.
pub struct NetlinkMessages<'a> {
    rest: &'a [u8],
}

impl<'a> NetlinkMessages<'a> {
    /// Starts with the first message of a datagram.
    pub fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }

    fn parse_next(&mut self) -> Result<NetlinkMessage<'a>, DiagError> {
        let datagram = std::mem::take(&mut self.rest);
        let length = read_u32(datagram, 0)
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(DiagError::Malformed("a message header is cut off"))?;
        let message = datagram
            .get(..length)
            .filter(|message| message.len() >= HEADER_LEN)
            .ok_or(DiagError::Malformed("a message's length is impossible"))?;
        let (header, payload) = message.split_at(HEADER_LEN);
        let kind = read_u16(header, 4).unwrap_or(0);
        let flags = read_u16(header, 6).unwrap_or(0);
        let body = match kind {
            NLMSG_NOOP => NetlinkBody::Noop,
            NLMSG_ERROR => NetlinkBody::Error(
                read_errno(payload).ok_or(DiagError::Malformed("an error carries no number"))?,
            ),
            // The number may be missing.
            NLMSG_DONE => NetlinkBody::Done(read_errno(payload).unwrap_or(0)),
            NLMSG_OVERRUN => NetlinkBody::Overrun,
            kind => NetlinkBody::Data(kind, payload),
        };
        // Every message starts at a multiple of 4; the padding of the last one may be missing.
        self.rest = datagram.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Ok(NetlinkMessage {
            sequence: read_u32(header, 8).unwrap_or(0),
            interrupted: flags & DUMP_INTERRUPTED != 0,
            body,
        })
    }
}

impl<'a> Iterator for NetlinkMessages<'a> {
    type Item = Result<NetlinkMessage<'a>, DiagError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some(self.parse_next())
    }
}

/// Iterates over the attributes of a message (`struct nlattr`), up to the first one that does not
/// fit.
pub fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let length = usize::from(read_u16(rest, 0)?);
        let kind = read_u16(rest, 2)? & !FLAGS;
        let value = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// Reads netlink's negative error number and makes it positive.
fn read_errno(payload: &[u8]) -> Option<i32> {
    read_u32(payload, 0).map(|raw| (raw as i32).saturating_neg().max(0))
}

pub fn read_array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    read_array(bytes, at).map(u16::from_ne_bytes)
}

pub fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    read_array(bytes, at).map(u32::from_ne_bytes)
}

pub fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    read_array(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((HEADER_LEN + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(7_u32.to_ne_bytes());
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn messages_of_one_datagram_come_in_order() {
        let mut datagram = message(20, 0, b"first");
        datagram.extend(message(20, DUMP_INTERRUPTED, b"second!"));
        datagram.extend(message(NLMSG_DONE, 0, &(-libc::EINTR).to_ne_bytes()));
        let messages: Result<Vec<_>, _> = NetlinkMessages::new(&datagram).collect();
        let messages = messages.expect("well formed");
        assert_eq!(messages[0].body, NetlinkBody::Data(20, b"first"));
        assert!(!messages[0].interrupted && messages[1].interrupted);
        assert_eq!(messages[2].body, NetlinkBody::Done(libc::EINTR));
        assert!(messages.iter().all(|message| message.sequence == 7));
    }

    #[test]
    fn a_truncated_datagram_never_panics() {
        let mut datagram = message(20, 0, b"first");
        datagram.extend(message(NLMSG_ERROR, 0, &(-libc::ENOENT).to_ne_bytes()));
        for end in 0..datagram.len() {
            let complete = NetlinkMessages::new(&datagram[..end])
                .filter(Result::is_ok)
                .count();
            assert!(complete <= 1, "{end}");
        }
    }

    #[track_caller]
    fn assert_malformed(datagram: &[u8]) {
        let mut messages = NetlinkMessages::new(datagram);
        assert!(matches!(
            messages.next(),
            Some(Err(DiagError::Malformed(_)))
        ));
        assert!(messages.next().is_none());
    }

    #[test]
    fn impossible_lengths_end_the_iteration() {
        for length in [0_u32, 1, 15, 17, u32::MAX] {
            let mut datagram = message(20, 0, &[]);
            datagram[..4].copy_from_slice(&length.to_ne_bytes());
            assert_malformed(&datagram);
        }
    }

    #[test]
    fn an_error_without_an_errno_ends_the_iteration() {
        let mut datagram = message(NLMSG_ERROR, 0, &[]);
        datagram.extend(message(20, 0, b"behind it"));
        assert_malformed(&datagram);
    }

    #[test]
    fn the_smallest_error_number_does_not_overflow() {
        let datagram = message(NLMSG_ERROR, 0, &i32::MIN.to_ne_bytes());
        let first = NetlinkMessages::new(&datagram)
            .next()
            .and_then(Result::ok)
            .map(|message| message.body);
        assert_eq!(first, Some(NetlinkBody::Error(i32::MAX)));
    }

    #[test]
    fn attributes_stop_at_the_first_that_does_not_fit() {
        let mut bytes = vec![];
        for (kind, value) in [(8_u16, &[3_u8][..]), (21 | 0x8000, &[1; 8])] {
            bytes.extend((4 + value.len() as u16).to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        let whole: Vec<_> = attributes(&bytes).collect();
        assert_eq!(whole, [(8, &[3_u8][..]), (21, &[1; 8])]);
        for end in 0..bytes.len() {
            assert!(attributes(&bytes[..end]).count() < 2);
        }
        assert_eq!(attributes(&[0; 64]).count(), 0);
        assert_eq!(attributes(&[0xff; 64]).count(), 0);
    }
}
