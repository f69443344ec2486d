//! The name that both endpoints of a connection have in common, as the capture gives it.

use std::hash::Hasher as _;

use serde_json::Value;
use siphasher::sip::SipHasher24;

use super::capture::Packet;
use super::record::Close;

/// Returns whether `conn.pair` is the hash of the numbers of two captured SYNs, or is null where
/// these cannot be known for certain.
pub fn has_pair_of(close: &Close, packets: &[Packet]) -> bool {
    let Value::String(pair) = close.get("/conn/pair") else {
        // connect() under TCP_REPAIR, and closes without evidence, have none.
        let is_known = close.get("/conn/seen_from_start") == true
            && close.get("/retransmits").is_number()
            && close.states().contains(&"ESTABLISHED");
        return !is_known;
    };
    let (local, peer) = close.ports();
    let numbers = |from, to| {
        packets
            .iter()
            .filter_map(move |packet| packet.syn(from, to))
    };
    numbers(local, peer).any(|iss| numbers(peer, local).any(|irs| *pair == name(iss, irs)))
}

fn name(iss: u32, irs: u32) -> String {
    let mut hasher = SipHasher24::new_with_key(b"tcpclose pair id");
    hasher.write(&iss.min(irs).to_le_bytes());
    hasher.write(&iss.max(irs).to_le_bytes());
    format!("{:016x}", hasher.finish())
}
