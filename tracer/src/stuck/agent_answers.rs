//! What a running agent knows of the sockets that a scan has found.

use std::collections::HashMap;

use crate::agent_socket::AgentAddress;
use crate::coverage::CoverageGap;
use tcpclose_core::KnownSocket;
use tcpclose_core::stuck::{HolderCoverage, ObservedSocket, Report, StuckSocket};
use tcpclose_core::types::{EndpointId, Role};

/// What the agent knows of sockets; `None` where no agent has answered.
#[derive(Debug, Default)]
pub(super) struct KnownSockets(Option<HashMap<EndpointId, KnownSocket>>);

impl KnownSockets {
    /// Asks the agent about all sockets of a scan, and notes when they entered their state.
    pub fn ask(
        agent: &AgentAddress,
        sockets: &mut [ObservedSocket],
        gaps: &mut Vec<CoverageGap>,
    ) -> Self {
        let traced = sockets.iter().filter(|socket| !socket.mptcp);
        let ids: Vec<EndpointId> = traced.map(|socket| socket.id).collect();
        let known = agent.ask(gaps, |agent| agent.sockets(&ids));
        for socket in sockets {
            let known = known.as_ref().and_then(|known| known.get(&socket.id));
            // It may have left its state since the kernel was asked.
            let known = known.filter(|known| known.state == socket.state);
            socket.entered = known.and_then(|known| known.since);
        }
        Self(known)
    }

    /// Returns whether an agent has answered.
    pub const fn is_answer(&self) -> bool {
        self.0.is_some()
    }

    /// Adds to a socket who opened it and when, and its process where a search for holders cannot
    /// find that.
    pub fn complete(&self, stuck: &mut StuckSocket, has_holders: bool, coverage: &HolderCoverage) {
        let Some(known) = self
            .0
            .as_ref()
            .and_then(|known| known.get(&stuck.socket.id))
        else {
            return;
        };
        let (netns, role) = (stuck.endpoint.netns, stuck.endpoint.role);
        stuck.endpoint = known.endpoint.clone();
        stuck.endpoint.netns = netns.or(known.endpoint.netns);
        if known.endpoint.role == Role::Unknown {
            stuck.endpoint.role = role;
        }
        // Who connected is no holder where it was searched in vain. Nobody holds what its process
        // has closed.
        let owner = known.owner.as_ref().filter(|owner| {
            stuck.socket.is_orphan() || has_holders || coverage.may_have_missed(owner.pid)
        });
        stuck.owner = owner.cloned();
    }

    /// Adds how the stuck sockets of processes grow, where the scans themselves do not show it yet.
    pub fn add_growth(&self, report: &mut Report) {
        let Some(known) = &self.0 else {
            return;
        };
        report.add_growth(|socket| {
            let trend = known.get(&socket.id)?.trend?;
            Some((trend.process(), trend.lines))
        });
    }
}
