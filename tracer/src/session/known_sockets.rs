//! What the session knows of single sockets.

use super::event_loop::Session;
use tcpclose_core::types::{EndpointId, NetNs, Tuple};
use tcpclose_core::{KnownMinisocket, KnownSocket};

impl<S> Session<S> {
    /// Returns what is known of a live socket.
    #[must_use]
    pub fn known_socket(&self, cookie: EndpointId) -> Option<KnownSocket> {
        self.core.tracker().known_socket(cookie)
    }

    /// Returns what is known of a minisocket.
    #[must_use]
    pub fn known_minisocket(&self, netns: Option<NetNs>, tuple: &Tuple) -> Option<KnownMinisocket> {
        self.core.tracker().known_minisocket(netns, tuple)
    }
}
