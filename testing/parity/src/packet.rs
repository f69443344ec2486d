//! IP packets as they cross the queue: what a TCP segment is, and the ICMP error that answers one.

use tcpclose_parity::segment::Flags;

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
const ICMP_HEADER: usize = 8;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The TCP segment in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The sender's port.
    pub source: u16,
    /// The receiver's port.
    pub destination: u16,
    /// Its flags.
    pub flags: Flags,
    /// Bytes of payload.
    pub len: usize,
}

/// Returns the segment in a packet, or `None` where the packet has none or is a fragment.
pub fn tcp_of(packet: &[u8]) -> Option<Tcp> {
    let (header, total) = match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet[0] & 15) * 4;
            let is_fragment = u16_at(packet, 6)? & 0x3fff != 0;
            if *packet.get(9)? != TCP || is_fragment {
                return None;
            }
            (header, usize::from(u16_at(packet, 2)?))
        }
        6 if *packet.get(6)? == TCP => {
            let payload = usize::from(u16_at(packet, 4)?);
            (IPV6_HEADER, IPV6_HEADER + payload)
        }
        _ => return None,
    };
    let data = header + usize::from(packet.get(header + 12)? >> 4) * 4;
    Some(Tcp {
        source: u16_at(packet, header)?,
        destination: u16_at(packet, header + 2)?,
        flags: Flags::from_bits(*packet.get(header + 13)?),
        len: total.checked_sub(data)?,
    })
}

fn u16_at(packet: &[u8], at: usize) -> Option<u16> {
    let bytes = packet.get(at..at + 2)?;
    Some(u16::from_be_bytes([bytes[0], bytes[1]]))
}

/// Returns the ICMP error "destination unreachable" with this code that answers a packet, as if
/// from the host that the packet was for.
pub fn unreachable(packet: &[u8], code: u8) -> Vec<u8> {
    if packet[0] >> 4 == 4 {
        unreachable_v4(packet, code)
    } else {
        unreachable_v6(packet, code)
    }
}

fn unreachable_v4(packet: &[u8], code: u8) -> Vec<u8> {
    const DESTINATION_UNREACHABLE: u8 = 3;
    /// The header and the first bytes of TCP's.
    const QUOTED: usize = 28;
    let quoted = &packet[..packet.len().min(QUOTED)];
    let total = (IPV4_HEADER + ICMP_HEADER + quoted.len()) as u16;
    let mut answer = vec![0x45, 0];
    answer.extend(total.to_be_bytes());
    answer.extend([0, 0, 0, 0, 64, ICMP, 0, 0]);
    answer.extend(&packet[16..20]);
    answer.extend(&packet[12..16]);
    let sum = checksum(&answer, 0);
    answer[10..12].copy_from_slice(&sum.to_be_bytes());
    answer.extend([DESTINATION_UNREACHABLE, code, 0, 0, 0, 0, 0, 0]);
    answer.extend(quoted);
    let sum = checksum(&answer[IPV4_HEADER..], 0);
    answer[IPV4_HEADER + 2..IPV4_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    answer
}

fn unreachable_v6(packet: &[u8], code: u8) -> Vec<u8> {
    const DESTINATION_UNREACHABLE: u8 = 1;
    const QUOTED: usize = 80;
    let quoted = &packet[..packet.len().min(QUOTED)];
    let length = (ICMP_HEADER + quoted.len()) as u16;
    let mut answer = vec![0x60, 0, 0, 0];
    answer.extend(length.to_be_bytes());
    answer.extend([ICMPV6, 64]);
    answer.extend(&packet[24..40]);
    answer.extend(&packet[8..24]);
    answer.extend([DESTINATION_UNREACHABLE, code, 0, 0, 0, 0, 0, 0]);
    answer.extend(quoted);
    // The checksum covers both addresses, the length and the protocol (RFC 8200, 8.1).
    let pseudo = sum(&answer[8..40]) + u32::from(length) + u32::from(ICMPV6);
    let sum = checksum(&answer[IPV6_HEADER..], pseudo);
    answer[IPV6_HEADER + 2..IPV6_HEADER + 4].copy_from_slice(&sum.to_be_bytes());
    answer
}

fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks(2);
    let word = |word: &[u8]| (u32::from(word[0]) << 8) | u32::from(*word.get(1).unwrap_or(&0));
    words.map(word).sum()
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let mut total = start + sum(bytes);
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    !(total as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A FIN with three bytes of data from port 4000 to port 80.
    fn fin(ipv6: bool) -> Vec<u8> {
        let mut tcp = vec![0x0f, 0xa0, 0, 80];
        tcp.extend([0; 8]);
        tcp.extend([0x50, 0x11, 0, 0, 0, 0, 0, 0, 1, 2, 3]);
        let mut packet = if ipv6 {
            let mut header = vec![0x60, 0, 0, 0, 0, tcp.len() as u8, TCP, 64];
            header.extend([1; 16]);
            header.extend([2; 16]);
            header
        } else {
            let total = (IPV4_HEADER + tcp.len()) as u8;
            let start = [0x45, 0, 0, total, 0, 0, 0x40, 0, 64, TCP, 0, 0];
            [&start[..], &[10, 0, 0, 1], &[10, 0, 0, 2]].concat()
        };
        packet.extend(tcp);
        packet
    }

    #[test]
    fn a_segment_is_recognized_in_both_families() {
        for ipv6 in [false, true] {
            let segment = tcp_of(&fin(ipv6)).unwrap();
            assert_eq!((segment.source, segment.destination), (4_000, 80));
            assert!(segment.flags.fin && segment.flags.ack && !segment.flags.rst);
            assert_eq!(segment.len, 3);
        }
    }

    #[test]
    fn what_is_no_segment_or_not_all_of_one_is_refused() {
        let mut fragment = fin(false);
        fragment[6] = 0x20;
        let mut udp = fin(true);
        udp[6] = 17;
        for packet in [&fragment, &udp, &fin(false)[..30], &[]] {
            assert_eq!(tcp_of(packet), None);
        }
    }

    #[test]
    fn an_answer_goes_back_with_a_right_checksum() {
        let v4 = unreachable(&fin(false), 3);
        assert_eq!(v4[12..20], [10, 0, 0, 2, 10, 0, 0, 1]);
        assert_eq!(v4[9], ICMP);
        assert_eq!(checksum(&v4[..IPV4_HEADER], 0), 0);
        assert_eq!(checksum(&v4[IPV4_HEADER..], 0), 0);
        assert_eq!(v4[28..], fin(false)[..28]);
        let v6 = unreachable(&fin(true), 4);
        assert_eq!((v6[8], v6[24], v6[6]), (2, 1, ICMPV6));
        let length = u32::from(u16_at(&v6, 4).unwrap());
        let pseudo = sum(&v6[8..40]) + length + u32::from(ICMPV6);
        assert_eq!(checksum(&v6[IPV6_HEADER..], pseudo), 0);
    }
}
