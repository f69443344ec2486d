//! Lists of live endpoints, for people who look at them one by one.

use tcpclose_common::TcpState;

use super::Tracker;
use crate::live_endpoint::LiveEndpoint;
use crate::types::{EndpointId, Nanos, NetNs, Role, SharedOwner, Tuple};

/// A live endpoint in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedEndpoint {
    /// Its id in findings.
    pub id: EndpointId,
    /// The network namespace it lives in, where that is known.
    pub netns: Option<NetNs>,
    /// The local and peer addresses and ports.
    pub tuple: Tuple,
    /// Which side opened the connection.
    pub role: Role,
    /// The socket's present state.
    pub state: TcpState,
    /// When it entered that state, where that was seen.
    pub since: Option<Nanos>,
    /// The process it belongs to, where that is known.
    pub owner: Option<SharedOwner>,
    /// Whether its process has closed it, and only a minisocket in FIN_WAIT2 waits for the peer's
    /// FIN.
    pub is_orphan: bool,
}

impl ListedEndpoint {
    fn new(endpoint: &LiveEndpoint, is_orphan: bool) -> Self {
        Self {
            id: endpoint.id,
            netns: endpoint.netns,
            tuple: endpoint.tuple,
            role: endpoint.role,
            state: match is_orphan {
                true => TcpState::FinWait2,
                false => endpoint.state,
            },
            since: endpoint.since.get(),
            owner: endpoint.owner.clone(),
            is_orphan,
        }
    }
}

impl Tracker {
    /// Returns the live endpoints whose state and owner are wanted, among them those that wait for
    /// the peer's FIN (in FIN_WAIT2): at most `most`, the ones first that entered their state
    /// first, and how many there are. Iterates over all endpoints.
    #[must_use]
    pub fn list_endpoints(
        &self,
        most: usize,
        wanted: impl Fn(TcpState, Option<&SharedOwner>) -> bool,
    ) -> (Vec<ListedEndpoint>, usize) {
        let live = self.table.iter().map(|(_, endpoint)| (endpoint, false));
        let parked = self.parked.iter().map(|parked| (&parked.endpoint, true));
        let mut all: Vec<(&LiveEndpoint, bool)> = live
            .chain(parked)
            .filter(|(endpoint, is_orphan)| {
                let state = match is_orphan {
                    true => TcpState::FinWait2,
                    false => endpoint.state,
                };
                let is_wanted = wanted(state, endpoint.owner.as_ref());
                is_wanted && !endpoint.tuple.is_self_test()
            })
            .collect();
        let total = all.len();
        // What is not known is older than what was seen.
        let rank = |(endpoint, _): &(&LiveEndpoint, bool)| (endpoint.since.get(), endpoint.id);
        if total > most {
            all.select_nth_unstable_by_key(most, rank);
            all.truncate(most);
        }
        all.sort_unstable_by_key(rank);
        let listed = all.into_iter();
        let listed = listed.map(|(endpoint, orphan)| ListedEndpoint::new(endpoint, orphan));
        (listed.collect(), total)
    }
}
