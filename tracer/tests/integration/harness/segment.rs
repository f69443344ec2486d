//! Segments of the tests' own making.

use std::net::{Ipv4Addr, SocketAddrV4};

const IP_HEADER: usize = 20;
const TCP_HEADER: usize = 20;
const TCP: u8 = 6;
const RST: u8 = 4;

/// An IPv4 packet with a bare RST.
pub fn reset(from: SocketAddrV4, to: SocketAddrV4, seq: u32) -> Vec<u8> {
    let mut packet = Vec::with_capacity(IP_HEADER + TCP_HEADER);
    let length = (IP_HEADER + TCP_HEADER) as u16;
    packet.extend([0x45, 0]);
    packet.extend(length.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([64, TCP, 0, 0]);
    packet.extend(from.ip().octets());
    packet.extend(to.ip().octets());
    let sum = checksum(&packet, 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());

    packet.extend(from.port().to_be_bytes());
    packet.extend(to.port().to_be_bytes());
    packet.extend(seq.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend([(TCP_HEADER as u8 / 4) << 4, RST]);
    packet.extend([0; 6]);
    let pseudo = pseudo_header(*from.ip(), *to.ip());
    let sum = checksum(&packet[IP_HEADER..], pseudo);
    packet[IP_HEADER + 16..IP_HEADER + 18].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn pseudo_header(from: Ipv4Addr, to: Ipv4Addr) -> u32 {
    let words = |ip: Ipv4Addr| {
        let [a, b, c, d] = ip.octets().map(u32::from);
        ((a << 8) | b) + ((c << 8) | d)
    };
    words(from) + words(to) + u32::from(TCP) + TCP_HEADER as u32
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks_exact(2)
        .map(|word| (u32::from(word[0]) << 8) | u32::from(word[1]));
    let mut sum = words.sum::<u32>() + start;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
