//! Which connections a capture may show.

use std::collections::HashMap;
use std::net::SocketAddr;

use tcpclose_parity::tshark::Stream;

use crate::play::Played;
use crate::programs::Service;
use crate::steps::CloseKind;

/// The connections of a workload.
#[derive(Clone, Debug)]
pub enum Expected {
    /// Those that were planned, by their addresses and ports; of several with the same, the first
    /// is the last.
    Plans {
        /// What is left of them.
        left: HashMap<(SocketAddr, SocketAddr), Vec<Played>>,
        /// How many records there will be.
        records: usize,
    },
    /// All with these services.
    Services(Vec<Service>),
}

impl Expected {
    /// Of a workload of plans.
    pub fn of_plans(played: Vec<Played>) -> Self {
        let refused = played.iter().filter(|it| !it.kind.is_established());
        let records = 2 * played.len() - refused.count();
        let mut left: HashMap<_, Vec<_>> = HashMap::new();
        for connection in played.into_iter().rev() {
            let ports = (connection.client, connection.server);
            left.entry(ports).or_default().push(connection);
        }
        Self::Plans { left, records }
    }

    /// Of real programs.
    pub fn of_services(services: &[Service]) -> Self {
        Self::Services(services.to_vec())
    }

    /// How many records there will be, as far as that is known.
    pub fn records(&self) -> usize {
        match self {
            Self::Plans { records, .. } => *records,
            Self::Services(_) => usize::MAX,
        }
    }

    /// The names of its kinds of closes, in the report's order.
    pub fn kinds(&self) -> Vec<&'static str> {
        match self {
            Self::Plans { .. } => CloseKind::ALL.map(CloseKind::name).to_vec(),
            Self::Services(services) => services.iter().map(|it| it.name()).collect(),
        }
    }

    /// The plan and the kind of a connection that was captured.
    pub fn take(&mut self, stream: &Stream) -> Option<(usize, &'static str)> {
        match self {
            Self::Plans { left, .. } => {
                let played = left.get_mut(&(stream.client, stream.server))?.pop()?;
                Some((played.plan, played.kind.name()))
            }
            Self::Services(services) => {
                let port = stream.server.port();
                let service = services.iter().find(|service| service.port() == port)?;
                Some((0, service.name()))
            }
        }
    }

    /// Returns whether another connection with the same addresses and ports is to come.
    pub fn has_another(&self, stream: &Stream) -> bool {
        match self {
            Self::Plans { left, .. } => left
                .get(&(stream.client, stream.server))
                .is_some_and(|left| !left.is_empty()),
            Self::Services(_) => false,
        }
    }
}
