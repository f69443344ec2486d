//! Why connections closed abnormally of late.

use crate::output::close_text::CloseSummary;
use tcpclose_core::finding::Close;
use tcpclose_core::types::{Nanos, Role};

/// The causes that are counted each on its own; the rarest makes room for a new one.
const MAX_CAUSES: usize = 6;
/// After this time what was counted weighs half.
const HALF_LIFE: Nanos = Nanos::from_secs(30);

/// One cause at one port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counted {
    how: CloseSummary,
    /// The port of the server.
    port: Option<u16>,
    count: u32,
}

/// The causes of abnormal closes, the later ones weighing more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Causes {
    counted: Vec<Counted>,
    halved_at: Nanos,
}

impl Causes {
    /// Counts an abnormal close.
    pub fn add(&mut self, close: &Close) {
        self.halve(close.at);
        let (local, peer) = (close.endpoint.tuple.local(), close.endpoint.tuple.peer());
        let port = match close.endpoint.role {
            Role::Client => Some(peer.port()),
            Role::Server => Some(local.port()),
            Role::Unknown => None,
        };
        self.count(CloseSummary::from_close(close), port, 1);
    }

    fn halve(&mut self, now: Nanos) {
        let halvings = (now - self.halved_at).0 / HALF_LIFE.0;
        if halvings > 0 {
            for one in &mut self.counted {
                one.count = one.count.checked_shr(halvings as u32).unwrap_or(0);
            }
            // The last one is remembered, whenever it was.
            let most = self.counted.iter().map(|one| one.count).max();
            self.counted.retain(|one| one.count > 0 || most == Some(0));
            self.halved_at = now;
        }
    }

    fn count(&mut self, how: CloseSummary, port: Option<u16>, count: u32) {
        let is_same = |one: &&mut Counted| (one.how, one.port) == (how, port);
        if let Some(same) = self.counted.iter_mut().find(is_same) {
            same.count += count;
            return;
        }
        let new = Counted { how, port, count };
        if self.counted.len() < MAX_CAUSES {
            self.counted.push(new);
        } else if let Some(rarest) = self.counted.iter_mut().min_by_key(|one| one.count) {
            *rarest = new;
        }
    }

    /// Counts what others have counted.
    pub fn merge(&mut self, other: &Self) {
        self.halved_at = self.halved_at.max(other.halved_at);
        for one in &other.counted {
            self.count(one.how, one.port, one.count);
        }
    }

    /// Returns the main cause of late with the port of the server: `stale keep-alive :8088`.
    pub fn main(&self) -> Option<String> {
        let main = self.counted.iter().max_by_key(|one| one.count)?;
        let words = main.how.why.unwrap_or(main.how.what);
        Some(match main.port {
            Some(port) => format!("{words} :{port}"),
            None => words.to_owned(),
        })
    }
}
