//! What is known of single sockets.

use super::Tracker;
use crate::known_socket::{KnownMinisocket, KnownSocket};
use crate::types::{EndpointId, NetNs, Tuple};

impl Tracker {
    /// Returns what is known of a live socket, by its cookie; `None` if it is not in the table.
    #[must_use]
    pub fn known_socket(&self, cookie: EndpointId) -> Option<KnownSocket> {
        let live = self.table.get(cookie).filter(|live| live.has_cookie)?;
        let mut endpoint = live.to_endpoint(None);
        endpoint.peer_owner = self.peer_owner(live);
        let reported = live.reported_stuck();
        Some(KnownSocket {
            endpoint,
            state: live.state,
            since: live.since.get(),
            owner: live.owner.clone(),
            trend: reported.and_then(|stuck| self.stuck.as_ref()?.trend_of(stuck)),
        })
    }

    /// Returns what is known of a minisocket; `None` if it is not followed.
    #[must_use]
    pub fn known_minisocket(&self, netns: Option<NetNs>, tuple: &Tuple) -> Option<KnownMinisocket> {
        if let Some((endpoint, owner)) = self.time_waits.get(netns, tuple) {
            return Some(KnownMinisocket {
                owner: owner.cloned(),
                lifetime: endpoint.lifetime,
            });
        }
        let parked = self.parked.find(netns, tuple)?;
        Some(KnownMinisocket {
            owner: parked.endpoint.owner.clone(),
            lifetime: None,
        })
    }
}
