//! sock_diag in all network namespaces but the own one.

use tcpclose_sys::kernel::netns;
use tcpclose_sys::kernel::sock_diag::DiagClient;

/// Clients for all namespaces except the prober's own.
pub(crate) struct OtherNamespaces {
    pub sockets: Vec<DiagClient>,
    /// Whether every other namespace could be opened.
    pub complete: bool,
}

impl OtherNamespaces {
    /// Opens a client in each namespace.
    pub fn open() -> Self {
        let (scan, own) = (netns::scan(), netns::current().ok());
        let mut others = Self {
            sockets: Vec::new(),
            complete: scan.gaps.is_empty(),
        };
        for handle in scan
            .namespaces
            .iter()
            .filter(|handle| Some(handle.id()) != own)
        {
            match DiagClient::open_in(handle) {
                Ok(socket) => others.sockets.push(socket),
                Err(_) => others.complete = false,
            }
        }
        others
    }
}
