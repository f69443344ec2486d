//! Destroys stuck sockets (`SOCK_DESTROY`), for those who need their memory and the peers' sockets
//! before the application is fixed.

use super::collect::look_up;
use super::observe::observe_stuck;
use tcpclose_core::stuck::{ObservedSocket, StuckSocket};
use tcpclose_core::types::Nanos;
use tcpclose_sys::kernel::netns_cache::NetNsCache;
use tcpclose_sys::kernel::sock_diag::{DiagClient, DiagError, SocketLookup};

/// Destroys sockets in whatever namespace they live.
#[derive(Debug)]
pub(crate) struct SocketDestroyer {
    netns_cache: NetNsCache,
}

/// What became of a socket that was to be destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DestroyOutcome {
    /// The kernel has destroyed it.
    Destroyed,
    /// It has left its state since the scan, or bytes have moved: it was left alone.
    NoLongerStuck,
}

impl Default for SocketDestroyer {
    fn default() -> Self {
        Self {
            netns_cache: NetNsCache::with_namespaces_by_descriptor(),
        }
    }
}

impl SocketDestroyer {
    /// Returns whether a socket may be destroyed: it is certainly stuck, and the kernel knows it by
    /// a cookie that no other socket has or will have. MPTCP connections may not be: their subflows
    /// are other sockets.
    pub fn may_destroy(stuck: &StuckSocket) -> bool {
        let socket = &stuck.socket;
        stuck.verdict.may_be_destroyed() && !socket.mptcp && socket.id.is_cookie()
    }

    /// Destroys a socket of a scan, unless something has happened to it since.
    ///
    /// # Errors
    /// The kernel refuses it, or its namespace cannot be opened.
    pub fn destroy(&mut self, stuck: &StuckSocket) -> Result<DestroyOutcome, DiagError> {
        let socket = &stuck.socket;
        let mut diag = match socket.netns {
            Some(netns) => self.netns_cache.open_diag(netns)?,
            None => DiagClient::open()?,
        };
        let now = look_up(&mut diag, socket)?;
        let now = now.and_then(|now| observe_stuck(&now, Nanos(0)));
        if now.is_none_or(|now| has_moved(socket, &now)) {
            return Ok(DestroyOutcome::NoLongerStuck);
        }
        let lookup = SocketLookup::new(socket.tuple)
            .with_id(socket.id)
            .with_interface(socket.interface);
        Ok(match diag.destroy(&lookup)? {
            true => DestroyOutcome::Destroyed,
            false => DestroyOutcome::NoLongerStuck,
        })
    }
}

/// Returns whether bytes have moved, or were read, between two observations of a socket.
fn has_moved(before: &ObservedSocket, after: &ObservedSocket) -> bool {
    let acked = |socket: &ObservedSocket| socket.activity.map(|activity| activity.bytes_acked);
    let is_same = before.queued == after.queued
        && before.unsent == after.unsent
        && acked(before) == acked(after);
    !is_same
}
