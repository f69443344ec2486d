//! What no recorder writes. Frames are small in a file and large in memory, so a small file that
//! was made for it could otherwise take any memory.

use super::Entry;
use crate::output_status::OutputState;
use crate::summary::IntervalEnd;
use tcpclose_core::process::Process;
use tcpclose_core::stuck::ProbedSocket;
use tcpclose_core::{Input, SavedEndpoints};

/// The longest path or command line in bytes. The kernel has at most 4,096 (`PATH_MAX`), and adds
/// ` (deleted)`.
const MAX_TEXT_LEN: usize = 8_192;

/// The longest name of a process in bytes. The kernel has 15 (`TASK_COMM_LEN`), and more only for
/// its own threads.
const MAX_COMM_LEN: usize = 64;

/// The most state changes of one endpoint.
const MAX_RECORDED_CHANGES: usize = 64;

/// The most outputs of an agent, and the most places where ephemeral ports are used.
const MAX_OUTPUTS: usize = 4_096;

/// Returns whether a recorder can have written the entry.
pub(crate) fn is_plausible(entry: &Entry) -> bool {
    match entry {
        Entry::Input(input) => is_plausible_input(input),
        Entry::WallClock(_) => true,
        Entry::Cgroup { path, .. } => path.len() <= MAX_TEXT_LEN,
        Entry::IntervalEnd(end) => is_plausible_end(end),
    }
}

fn is_plausible_input(input: &Input) -> bool {
    match input {
        Input::Snapshot { sockets, .. } => sockets
            .iter()
            .filter_map(|socket| socket.owner.as_ref())
            .all(|owner| owner.comm.len() <= MAX_COMM_LEN),
        Input::StuckProbe(response) => response.found.iter().all(is_plausible_probe),
        Input::Restore(saved) | Input::Resume { saved, .. } => is_plausible_restore(saved),
        _ => true,
    }
}

fn is_plausible_restore(saved: &SavedEndpoints) -> bool {
    let owners = saved.owners().iter().map(|owner| &owner.comm);
    let names = owners.chain(saved.holders().map(|holder| &holder.comm));
    let processes = saved.processes().iter();
    saved.most_changes() <= MAX_RECORDED_CHANGES
        && names.into_iter().all(|name| name.len() <= MAX_COMM_LEN)
        && processes
            .into_iter()
            .all(|process| is_plausible_process(process))
}

fn is_plausible_probe(probed: &ProbedSocket) -> bool {
    let has_plausible_names = probed
        .holders
        .iter()
        .all(|holder| holder.comm.len() <= MAX_COMM_LEN);
    has_plausible_names && probed.process.as_deref().is_none_or(is_plausible_process)
}

fn is_plausible_process(process: &Process) -> bool {
    let Process {
        comm,
        exe,
        command_line,
        cgroup,
        cgroup_v2,
        unit,
        container,
        ..
    } = process;
    let exe = exe.as_ref().map(|exe| exe.as_os_str().len());
    let texts = [
        exe,
        Some(command_line.len()),
        cgroup.as_ref().map(String::len),
        cgroup_v2.as_ref().map(String::len),
        unit.as_ref().map(|unit| unit.name.len()),
        unit.as_ref()
            .and_then(|unit| Some(unit.user.as_ref()?.len())),
        container.as_ref().map(|container| container.id.len()),
        container
            .as_ref()
            .and_then(|container| Some(container.pod.as_ref()?.len())),
    ];
    comm.len() <= MAX_COMM_LEN && texts.into_iter().flatten().all(|len| len <= MAX_TEXT_LEN)
}

fn is_plausible_end(end: &IntervalEnd) -> bool {
    let is_short = |state: &OutputState| match state {
        OutputState::Down { reason, .. } => reason.len() <= MAX_TEXT_LEN,
        OutputState::Up | OutputState::Removed => true,
    };
    end.pressure.len() <= MAX_OUTPUTS
        && end.outputs.len() <= MAX_OUTPUTS
        && end
            .outputs
            .iter()
            .all(|output| output.name.len() <= MAX_TEXT_LEN && is_short(&output.state))
}
