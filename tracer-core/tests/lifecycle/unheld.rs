//! Stuck sockets that no process was found to hold.

use tcpclose_common::TcpState;
use tcpclose_core::stuck::{HolderCoverage, OwnerUnknown, ProbedSocket, StuckSocket};
use tcpclose_core::types::OwnerSource;

use crate::socket::Socket;
use crate::stuck::{MINUTE, SECOND, held_by, requests, respond_after, seen, stuck_socket, world};

/// A client's endpoint that process 77 connected and the peer has closed a minute ago, and that
/// none of those processes was found to hold.
fn unheld(coverage: HolderCoverage) -> StuckSocket {
    let mut world = world();
    let mut end = Socket::client(&mut world, 5);
    end.receives_fin();
    end.to(&mut world, TcpState::CloseWait);
    world.pass_ms(60 * SECOND);
    assert_eq!(requests(&mut world).len(), 1);
    let probed = ProbedSocket {
        holders: Vec::new(),
        process: None,
        ..held_by(9, seen(5, MINUTE))
    };
    respond_after(&mut world, coverage, vec![probed]);
    stuck_socket(&mut world)
}

#[test]
fn a_socket_without_a_descriptor_is_not_the_leak_of_who_connected_it() {
    let reported = unheld(HolderCoverage::All);
    assert_eq!(reported.owner, None);
    assert_eq!(reported.owner_unknown, Some(OwnerUnknown::NoHolder));
    let others = unheld(HolderCoverage::AllBut(vec![1, 9]));
    assert_eq!(others.owner, None);
    assert_eq!(others.owner_unknown, Some(OwnerUnknown::NotInspectable));
}

#[test]
fn who_connected_a_socket_may_hold_it_where_that_could_not_be_inspected() {
    for coverage in [
        HolderCoverage::AllBut(vec![77]),
        HolderCoverage::Partial,
        // Recordings of earlier formats do not tell.
        HolderCoverage::Unrecorded,
    ] {
        let reported = unheld(coverage.clone());
        let owner = reported.owner.as_ref();
        let owner = owner.map(|owner| (owner.pid, owner.source));
        assert_eq!(owner, Some((77, OwnerSource::Connect)), "{coverage:?}");
        assert_eq!(reported.owner_unknown, None);
        assert_eq!(reported.process, None, "it counts for nobody");
    }
}
