//! Connections of single local ports, by state.

use tcpclose_common::TcpState;

use crate::types::Port;

/// The states that connections are counted in.
pub const CONNECTION_STATES: [TcpState; 9] = [
    TcpState::SynSent,
    TcpState::SynRecv,
    TcpState::Established,
    TcpState::FinWait1,
    TcpState::FinWait2,
    TcpState::Closing,
    TcpState::CloseWait,
    TcpState::LastAck,
    TcpState::TimeWait,
];

/// The endpoints that have a local port, in all network namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPortStates {
    /// The local port, as listed in the configuration.
    pub port: Port,
    /// The number of endpoints in each of [`CONNECTION_STATES`], in their order.
    states: [u64; CONNECTION_STATES.len()],
}

impl LocalPortStates {
    /// Returns a port without endpoints.
    #[must_use]
    pub const fn new(port: Port) -> Self {
        Self {
            port,
            states: [0; CONNECTION_STATES.len()],
        }
    }

    /// Counts an endpoint. Other states than [`CONNECTION_STATES`] are left out.
    pub(crate) fn add(&mut self, state: TcpState) {
        let position = CONNECTION_STATES.iter().position(|known| *known == state);
        if let Some(position) = position {
            self.states[position] += 1;
        }
    }

    /// Returns each state with the number of endpoints in it.
    pub fn by_state(&self) -> impl Iterator<Item = (TcpState, u64)> {
        CONNECTION_STATES.into_iter().zip(self.states)
    }
}
