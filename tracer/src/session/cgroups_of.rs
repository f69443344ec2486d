//! The cgroups in an input.

use tcpclose_core::Input;
use tcpclose_core::event::Event;
use tcpclose_core::types::{CgroupId, SharedOwner};

/// Passes on the ids of the cgroups whose names a recording needs with an input.
pub(super) fn cgroups_of(input: &Input, mut each: impl FnMut(u64)) {
    let mut pass_on = |cgroup: Option<CgroupId>| {
        if let Some(id) = cgroup {
            each(id.get());
        }
    };
    let mut pass_on_owners = |owners: &mut dyn Iterator<Item = &SharedOwner>| {
        owners.for_each(|owner| pass_on(owner.cgroup));
    };
    match input {
        Input::Event(Event::Transition(transition)) => {
            if let Some(task) = transition.task {
                pass_on(task.cgroup);
            }
        }
        Input::Restore(saved) | Input::Resume { saved, .. } => {
            pass_on_owners(&mut saved.owners().iter());
        }
        Input::Snapshot { sockets, .. } => {
            pass_on_owners(&mut sockets.iter().filter_map(|socket| socket.owner.as_ref()));
        }
        _ => {}
    }
}
