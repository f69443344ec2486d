//! A method for each kind of input, so that scenarios are short.

use std::collections::HashSet;

use tcpclose_core::event::Event;
use tcpclose_core::stuck::StuckProbeResponse;
use tcpclose_core::types::{EndpointId, Nanos, NetNs};
use tcpclose_core::{Input, MinisocketState, PollResponse, SnapshotSocket, Tracker};

pub trait InputMethods {
    fn apply_input(&mut self, input: Input);

    fn ingest(&mut self, event: &Event) {
        self.apply_input(Input::Event(event.clone()));
    }

    fn tick(&mut self, now: Nanos) {
        self.apply_input(Input::Time(now));
    }

    fn apply_minisocket_probe(&mut self, id: EndpointId, minisocket: MinisocketState, at: Nanos) {
        self.apply_input(Input::MinisocketProbe { id, minisocket, at });
    }

    fn apply_poll(&mut self, poll: &PollResponse) {
        self.apply_input(Input::Poll(poll.clone()));
    }

    fn apply_stuck_probe(&mut self, response: &StuckProbeResponse) {
        self.apply_input(Input::StuckProbe(response.clone()));
    }

    fn seed(&mut self, sockets: &[SnapshotSocket], at: Nanos) {
        let sockets = sockets.to_vec();
        self.apply_input(Input::Snapshot { sockets, at });
    }

    fn resync(&mut self, namespaces: &HashSet<NetNs>, alive: &HashSet<EndpointId>, began: Nanos) {
        self.apply_input(Input::AliveSockets {
            namespaces: namespaces.clone(),
            alive: alive.clone(),
            began,
        });
    }
}

impl InputMethods for Tracker {
    fn apply_input(&mut self, input: Input) {
        self.apply(&input);
    }
}
