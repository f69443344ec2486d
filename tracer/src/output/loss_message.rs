//! Losses in words.

use super::duration::push_with_unit;
use crate::plural::plural;
use tcpclose_core::finding::{Loss, LossLocation};

/// Returns a sentence for standard error about a loss: its effect, and how to avoid it.
#[must_use]
pub fn loss_message(loss: &Loss) -> String {
    let lost = loss.lost;
    let pick = |one, several| plural(lost, one, several);
    match loss.location {
        LossLocation::Ring => format!(
            "{lost} kernel {} lost because the ring buffer was full, so closes are missing or incomplete: trace fewer \
             connections (-L, -D, -4, -6) or free up CPU time for tcpclose",
            pick("record was", "records were"),
        ),
        LossLocation::Program => format!(
            "{lost} {} of the eBPF programs {} skipped by the kernel, because an interrupt came in while they ran, so a \
             close may be incomplete: there is no remedy",
            pick("run", "runs"),
            pick("was", "were"),
        ),
        LossLocation::Table => format!(
            "{lost} live {} dropped because the connection table was full, so {} will be reported in part or not at \
             all: trace fewer connections (-L, -D, -4, -6)",
            pick("connection was", "connections were"),
            pick("its close", "their closes"),
        ),
        LossLocation::Output => format!(
            "{lost} {} not written because the output was too slow for so many, so {} missing from it: read it \
             faster, leave tcpclose more CPU time, or trace fewer connections (-L, -D, -4, -6)",
            pick("line was", "lines were"),
            pick("it is", "they are"),
        ),
        LossLocation::Decode => format!(
            "{lost} kernel {} not be understood, so closes are missing or incomplete: this is a bug in tcpclose, \
             please report it with the output of `tcpclose doctor`",
            pick("record could", "records could"),
        ),
        LossLocation::Recording => format!(
            "{lost} {} not recorded because the disk was too slow, so closes are missing or incomplete in the \
             recording: write it to a faster disk, or record fewer connections (-L, -D, -4, -6)",
            pick("entry was", "entries were"),
        ),
        LossLocation::Probe => format!(
            "{lost} {} not answered because a thread of tcpclose has panicked, so closes may \
             be incomplete and stuck sockets reported late: this is a bug in tcpclose, please report it with what the \
             thread has written to stderr",
            pick(
                "request for the state of sockets was",
                "requests for the state of sockets were"
            ),
        ),
        LossLocation::Restart => {
            let mut span = String::new();
            push_with_unit(&mut span, loss.duration.unwrap_or_default());
            format!(
                "nothing was traced for {span} while tcpclose was restarted: {lost} {} open before had ended by then in \
                 an unknown way, and what opened and closed meanwhile is missing",
                pick("connection that was", "connections that were"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tcpclose_core::types::Nanos;

    #[test]
    fn a_loss_is_one_sentence_with_its_remedy() {
        let message = |lost, location| {
            loss_message(&Loss {
                at: Nanos(0),
                lost,
                location,
                repaired: false,
                duration: None,
            })
        };
        assert_eq!(
            message(12, LossLocation::Ring),
            "12 kernel records were lost because the ring buffer was full, so closes are missing or incomplete: trace fewer \
             connections (-L, -D, -4, -6) or free up CPU time for tcpclose"
        );
        assert_eq!(
            message(1, LossLocation::Table),
            "1 live connection was dropped because the connection table was full, so its close will be reported in part or \
             not at all: trace fewer connections (-L, -D, -4, -6)"
        );
        assert_eq!(
            message(1, LossLocation::Output),
            "1 line was not written because the output was too slow for so many, so it is missing from it: read it faster, \
             leave tcpclose more CPU time, or trace fewer connections (-L, -D, -4, -6)"
        );
        assert_eq!(
            message(2, LossLocation::Decode),
            "2 kernel records could not be understood, so closes are missing or incomplete: this is a bug in tcpclose, \
             please report it with the output of `tcpclose doctor`"
        );
        let restart = loss_message(&Loss {
            at: Nanos(0),
            lost: 2,
            location: LossLocation::Restart,
            repaired: true,
            duration: Some(Nanos::from_millis(2_300)),
        });
        assert_eq!(
            restart,
            "nothing was traced for 2.3s while tcpclose was restarted: 2 connections that were open before had ended by then \
             in an unknown way, and what opened and closed meanwhile is missing"
        );
    }
}
