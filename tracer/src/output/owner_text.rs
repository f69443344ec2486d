//! Processes in words.

use std::fmt::Write as _;

use crate::escape::push_for_terminal;
use tcpclose_core::types::{OwnerSource, SharedOwner};

/// Appends `python3[7524]`, marked where the process was found through the listening socket only.
pub(super) fn push_owner_for_log(text: &mut String, owner: &SharedOwner) {
    push_for_terminal(text, &owner.comm);
    let _ = write!(text, "[{}]", owner.pid);
    if owner.source == OwnerSource::Listen {
        text.push_str(" (listens)");
    }
}
