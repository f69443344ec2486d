//! Records of the ring buffer.

use tcpclose_common::{TransitionRecord, flags};
use tcpclose_core::event::{Event, SignalKind};
use tcpclose_sys::kernel::decode::{ReasonNames, decode};

/// Names of reasons by their numbers, as BTF has them.
const REASONS: [&str; 4] = ["NOT_SPECIFIED", "", "NO_SOCKET", "TCP_ABORT_ON_CLOSE"];

/// Decodes one record.
pub fn ring_record(data: &[u8]) {
    let reasons = ReasonNames {
        resets: REASONS.to_vec(),
        drops: REASONS.to_vec(),
    };
    let Ok(event) = decode(data, &reasons) else {
        return;
    };
    match event {
        Event::Transition(transition) => {
            // A short record means the same as a whole one whose rest is zero.
            let mut whole = [0; TransitionRecord::LEN_MAX];
            whole[..data.len()].copy_from_slice(data);
            let of_whole = decode(&whole, &reasons).expect("it was decoded when it was shorter");
            assert_eq!(format!("{event:?}"), format!("{of_whole:?}"));

            let record: TransitionRecord = bytemuck::pod_read_unaligned(&whole);
            assert_eq!(transition.at.0, record.at);
            assert_eq!(transition.id.0, record.id);
            assert_eq!(transition.tuple.local().port(), record.local_port);
            assert_eq!(transition.tuple.peer().port(), record.peer_port);
            assert_eq!(transition.tuple.local().is_ipv4(), record.ip == 4);
            assert_eq!(transition.task.is_some(), record.flags & flags::TASK != 0);
            let has_evidence = record.flags & flags::EVIDENCE != 0;
            assert_eq!(transition.evidence.is_some(), has_evidence);
        }
        Event::Signal(signal) => {
            if let SignalKind::ResetSent { reason, .. }
            | SignalKind::SegmentDropped { reason, .. } = signal.kind
            {
                assert!(reason.is_none_or(|reason| !reason.is_empty()));
            }
            let cut = &data[..data.len() - 1];
            assert!(decode(cut, &reasons).is_err(), "a signal of any length");
        }
    }
}
