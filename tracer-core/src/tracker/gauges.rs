//! Present counts, for summaries.

use foldhash::HashMap;

use super::Tracker;
use crate::summary::{Route, Top};
use crate::types::{NetNs, Port, Role, Tuple};

impl Tracker {
    /// Returns the number of endpoints that became established since the start.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Returns the number of live endpoints, without those in SYN_SENT whose port is not known yet:
    /// the port filter may drop them.
    #[must_use]
    pub fn live_and_wanted(&self) -> usize {
        let connecting = self.connecting.iter();
        let hidden = connecting.filter(|(at, key)| self.may_be_hidden(*at, *key));
        self.live() - hidden.count()
    }

    /// Returns the routes with the most connections that this host opened, at most `most`: of live
    /// endpoints, of those that wait for the peer's FIN, and of those in TIME_WAIT. Iterates over
    /// all of them, at some 50 ns each.
    #[must_use]
    pub fn busiest_routes(&self, most: usize) -> Vec<Route> {
        let mut top = Top::default();
        self.each_client_end(|netns, tuple| top.add(route(netns, tuple)));
        let ranking = top.ranking(most);
        ranking.most.into_iter().map(|(route, _)| route).collect()
    }

    /// Returns the local ports of the connections on each of these routes. Iterates as
    /// [`Self::busiest_routes`] does.
    #[must_use]
    pub fn local_ports(&self, routes: &[Route]) -> Vec<Vec<Port>> {
        let positions: HashMap<Route, usize> = routes.iter().copied().zip(0..).collect();
        let mut ports = vec![Vec::new(); routes.len()];
        self.each_client_end(|netns, tuple| {
            if let Some(position) = positions.get(&route(netns, tuple)) {
                ports[*position].extend(tuple.local_port);
            }
        });
        ports
    }

    /// Calls `each` for the endpoints that may use an ephemeral port: all but those that were
    /// accepted.
    fn each_client_end(&self, mut each: impl FnMut(Option<NetNs>, &Tuple)) {
        let live = self.table.iter().map(|(_, end)| end);
        let live = live.chain(self.orphans.iter());
        for endpoint in
            live.filter(|end| end.role != Role::Server && end.tuple.local_port.is_some())
        {
            each(endpoint.netns, &endpoint.tuple);
        }
        for endpoint in self
            .time_waits
            .iter()
            .filter(|end| end.role != Role::Server)
        {
            each(endpoint.netns, &endpoint.tuple);
        }
    }
}

fn route(netns: Option<NetNs>, tuple: &Tuple) -> Route {
    Route {
        netns,
        local: tuple.local().ip(),
        peer: tuple.peer(),
    }
}
