//! The states of TCP.

/// A TCP state, numbered as in the kernel's `include/net/tcp_states.h`.
///
/// In user space it is spelled as the kernel's name without the `TCP_` prefix, as bcc's tools print
/// it: `CLOSE_WAIT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "user",
    derive(
        serde::Serialize,
        serde::Deserialize,
        strum::Display,
        strum::FromRepr,
        strum::IntoStaticStr,
        strum::VariantArray
    ),
    strum(serialize_all = "SCREAMING_SNAKE_CASE")
)]
#[repr(u8)]
#[expect(missing_docs, reason = "RFC 9293's names and the kernel's")]
pub enum TcpState {
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait1 = 4,
    FinWait2 = 5,
    TimeWait = 6,
    Close = 7,
    CloseWait = 8,
    LastAck = 9,
    Listen = 10,
    Closing = 11,
    NewSynRecv = 12,
}

/// Compares a state as a record or the kernel has it, a number that may be no state.
impl PartialEq<TcpState> for u8 {
    #[inline(always)]
    fn eq(&self, state: &TcpState) -> bool {
        *self == *state as u8
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use strum::VariantArray as _;

    use super::TcpState;

    #[test]
    fn every_number_of_the_kernel_is_a_state_and_no_other() {
        for (state, raw) in TcpState::VARIANTS.iter().zip(1_u8..) {
            assert_eq!(TcpState::from_repr(raw), Some(*state));
            assert_eq!(*state as u8, raw);
        }
        assert_eq!(TcpState::from_repr(0), None);
        assert_eq!(TcpState::from_repr(13), None);
    }

    #[test]
    fn words_are_the_kernels_names() {
        let words = [
            "ESTABLISHED",
            "SYN_SENT",
            "SYN_RECV",
            "FIN_WAIT1",
            "FIN_WAIT2",
            "TIME_WAIT",
            "CLOSE",
            "CLOSE_WAIT",
            "LAST_ACK",
            "LISTEN",
            "CLOSING",
            "NEW_SYN_RECV",
        ];
        assert!(TcpState::VARIANTS.iter().map(<&str>::from).eq(words));
    }
}
