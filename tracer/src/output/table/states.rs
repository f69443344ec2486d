//! The times that an endpoint spent in its states, in few columns.

use tcpclose_common::TcpState;
use tcpclose_core::finding::StateDurations;

use crate::output::duration::push_state_ms;

/// What the columns mean, for `--help`.
pub const STATES_HELP: &str = "\
PROCESS: who connected, accepted or closed; in parentheses, who listens: another process may have accepted. PEER: → this \
host connected, ← it accepted. LIFE: the time from ESTABLISHED to the end, without TIME_WAIT; of a TIME_WAIT, its length. \
HOW: `us` is this endpoint.
With -v, or from 160 columns on: LOCAL, PATH (as --path takes it), SEG (closing segments), BYTES (sent/received), and STATES: \
the time in each state, in milliseconds unless a unit is given (ES 8.36 CW .09 LA 1.2s).
ES=ESTABLISHED F1=FIN_WAIT1 F2=FIN_WAIT2 CW=CLOSE_WAIT LA=LAST_ACK CL=CLOSING SS=SYN_SENT SR=SYN_RECV TW=TIME_WAIT";

/// Appends the time in each state: `ES 8.36 CW .09 LA .05`.
pub(super) fn push_states(text: &mut String, states: &StateDurations) {
    if states.is_empty() {
        text.push('-');
    }
    for (number, (state, span)) in states.iter().enumerate() {
        if number > 0 {
            text.push(' ');
        }
        text.push_str(abbreviation(*state));
        text.push(' ');
        match span {
            Some(span) => push_state_ms(text, *span),
            None => text.push('-'),
        }
    }
}

/// Returns two letters for a state; [`STATES_HELP`] explains those that a closing connection
/// passes.
const fn abbreviation(state: TcpState) -> &'static str {
    match state {
        TcpState::Established => "ES",
        TcpState::SynSent => "SS",
        TcpState::SynRecv => "SR",
        TcpState::FinWait1 => "F1",
        TcpState::FinWait2 => "F2",
        TcpState::TimeWait => "TW",
        TcpState::Close => "CD",
        TcpState::CloseWait => "CW",
        TcpState::LastAck => "LA",
        TcpState::Listen => "LI",
        TcpState::Closing => "CL",
        TcpState::NewSynRecv => "NS",
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;
    use tcpclose_common::TcpState as S;

    use super::{STATES_HELP, abbreviation};

    #[test]
    fn every_state_has_an_abbreviation_of_its_own_and_the_help_knows_those_shown() {
        let mut seen: Vec<_> = S::VARIANTS.iter().copied().map(abbreviation).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), S::VARIANTS.len());
        for state in [
            S::Established,
            S::FinWait1,
            S::FinWait2,
            S::CloseWait,
            S::LastAck,
            S::Closing,
            S::SynSent,
            S::SynRecv,
        ] {
            let entry = format!("{}={}", abbreviation(state), state);
            assert!(STATES_HELP.contains(&entry), "{entry}");
        }
    }
}
