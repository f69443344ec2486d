//! What a session saves for a later one, and what it takes over from an earlier one.

use std::collections::HashSet;

use super::event_loop::Session;
use super::live::Live;
use super::pending_restart::PendingRestart;
use tcpclose_core::types::Nanos;
use tcpclose_core::{Input, SaveScope, Saved, SavedEndpoints};

/// What a session has saved.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SavedSession {
    /// Until when it had taken all records.
    pub until: Nanos,
    /// Whether all live endpoints were saved.
    pub is_complete: bool,
    pub endpoints: Saved,
}

impl Session<Live> {
    /// Saves at most `room` endpoints for a later session.
    pub fn save(&self, scope: SaveScope, room: usize) -> SavedSession {
        let earlier = self.source.restart.as_ref();
        SavedSession {
            // What an earlier one has saved is not looked through yet.
            until: earlier.map_or_else(|| self.core.time(), |earlier| earlier.until),
            is_complete: scope == SaveScope::All
                && earlier.is_none_or(|earlier| earlier.is_complete),
            endpoints: self.core.tracker().save(scope, room),
        }
    }

    /// Takes over what an earlier session has saved. Called before the first event is taken.
    pub fn take_over(&mut self, until: Nanos, is_complete: bool, parts: Vec<SavedEndpoints>) {
        let restart = PendingRestart { until, is_complete };
        if self.source.existing.is_none() {
            // Sockets cannot be recognized without cookies.
            let at = self.source.attached_at;
            self.core
                .take(&restart.end(at, at, (HashSet::new(), false)));
            return;
        }
        for part in parts {
            self.core.take(&Input::Restore(part));
        }
        self.source.restart = Some(restart);
    }

    /// Returns whether it is still being looked for what an earlier session has saved.
    pub const fn is_taking_over(&self) -> bool {
        self.source.restart.is_some()
    }

    /// Returns until when all records have been taken.
    pub const fn taken_until(&self) -> Nanos {
        self.core.time()
    }

    /// Describes which connections are traced, for programs: the same words mean the same
    /// connections.
    pub fn traced(&self) -> String {
        format!("{:?}", self.source.options.filter)
    }

    /// Returns a number that changes whenever sockets that are stuck, or may be, have changed.
    pub fn stuck_revision(&self) -> u64 {
        self.core.tracker().stuck_revision()
    }
}
