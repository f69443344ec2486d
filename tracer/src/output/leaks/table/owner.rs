//! A process in the table, and where it runs.

use std::fmt::Write as _;

use super::parts::{INDENT, OwnerLine};
use crate::escape::{cut, push_for_terminal};
use crate::output::layout::Cell;
use tcpclose_core::container_filter::{SHORT_ID_LEN, is_hash_id};
use tcpclose_core::process::{Container, PodName, Process, Unit};
use tcpclose_sys::host::cgroup::CgroupName;

/// The most bytes of a command line that are shown.
const MAX_COMMAND_LINE_LEN: usize = 160;
/// The most bytes of a path that are shown.
const MAX_PATH_LEN: usize = 256;

pub(super) fn push_name(text: &mut String, process: &Process) {
    let _ = write!(text, " {:>6} ", process.pid);
    push_for_terminal(text, &process.comm);
}

/// Fills the columns of an owner's line that describe its process.
pub(super) fn set_process(cells: &mut OwnerLine<Cell>, process: &Process) {
    let [_, _, pid, comm, descriptors, place] = cells;
    pid.set(&process.pid.to_string());
    pid.align_right(6);
    push_for_terminal(comm.clear(), &process.comm);
    descriptors.set(&match process.fd_limit {
        Some(limit) => format!("{}/{limit}", process.open_fds),
        None => process.open_fds.to_string(),
    });
    place.set(&location_text(process));
}

/// Returns where a process runs: its unit and its container, or else its cgroup; empty where it is
/// in none.
pub(in crate::output) fn location_text(process: &Process) -> String {
    let container = process.container.as_ref();
    let unit = process
        .unit
        .as_ref()
        .filter(|unit| container.is_none_or(|container| !is_unit_of_container(unit, container)));
    let mut places = Vec::from_iter(unit.map(unit_text));
    places.extend(container.map(container_text));
    if places.is_empty() {
        let path = process.cgroup.as_deref().filter(|path| *path != "/");
        places.extend(path.map(cgroup_text));
    }
    places.join(", ")
}

/// Returns what is known of sockets that no process holds.
pub(super) fn unowned_text(uid: Option<u32>, cgroup: Option<&CgroupName>) -> String {
    let mut parts = Vec::from_iter(uid.map(|uid| format!("uid {uid}")));
    if let Some(CgroupName { path, container }) = cgroup {
        let mut text = "cgroup ".to_owned();
        push_for_terminal(&mut text, path.as_bytes());
        if let Some(container) = container {
            text.push_str(", ");
            push_container(&mut text, container);
        }
        parts.push(text);
    }
    parts.join(" ")
}

/// Returns whether a unit exists for a container alone, and is named after it.
fn is_unit_of_container(unit: &Unit, container: &Container) -> bool {
    let machine = ["machine-", "systemd-nspawn@"].iter();
    let is_machine = matches!(container.runtime, "systemd-nspawn" | "lxc")
        && machine.clone().any(|start| unit.name.starts_with(start));
    is_machine || unit.name.contains(&container.id)
}

fn unit_text(unit: &Unit) -> String {
    let mut text = String::new();
    push_unit(&mut text, &unit.name);
    if let Some(user) = &unit.user {
        text.push(' ');
        push_unit(&mut text, user);
    }
    text
}

/// Appends a unit's name as systemctl takes it: `\x2d` is a part of the name.
fn push_unit(text: &mut String, name: &str) {
    for (at, part) in name.split('\\').enumerate() {
        if at > 0 {
            text.push('\\');
        }
        if !part.is_empty() {
            push_for_terminal(text, part.as_bytes());
        }
    }
}

fn container_text(container: &Container) -> String {
    let mut text = String::new();
    push_container(&mut text, container);
    text
}

fn cgroup_text(path: &str) -> String {
    let mut text = "cgroup ".to_owned();
    push_cut(&mut text, path.as_bytes());
    text
}

fn push_container(text: &mut String, container: &Container) {
    let id = if is_hash_id(&container.id) {
        &container.id[..SHORT_ID_LEN]
    } else {
        &container.id
    };
    let _ = write!(text, "{} ", container.runtime);
    if let Some(name) = container.name() {
        push_for_terminal(text, name.as_bytes());
        text.push(' ');
    }
    push_for_terminal(text, id.as_bytes());
    if let Some(PodName { namespace, name }) = container.pod_name() {
        text.push_str(" pod ");
        push_for_terminal(text, namespace.as_bytes());
        text.push('/');
        push_for_terminal(text, name.as_bytes());
    } else if let Some(pod) = &container.pod {
        text.push_str(" pod ");
        push_for_terminal(text, pod.as_bytes());
    }
}

/// Appends what the process runs: its executable with the arguments, or, where a process gives
/// itself a title or another name, the executable with what ps shows in brackets.
pub(super) fn push_command(text: &mut String, process: &Process) {
    let line = process.arguments().collect::<Vec<_>>().join(&b' ');
    let exe = process.exe.as_deref();
    let exe = exe.map(|exe| exe.as_os_str().as_encoded_bytes());
    if exe.is_none() && line.is_empty() {
        return;
    }
    text.push_str(INDENT);
    let Some(exe) = exe else {
        push_line(text, &line, process.command_line_cut);
        text.push('\n');
        return;
    };
    push_cut(text, exe);
    let name = process.arguments().next().unwrap_or_default();
    if !is_named_after(name, exe) && !line.is_empty() {
        text.push_str(" (");
        push_line(text, &line, process.command_line_cut);
        text.push(')');
    } else {
        push_line(text, &line[name.len()..], process.command_line_cut);
    }
    text.push('\n');
}

/// `/usr/bin/web` may be called by its path, or `web`, or `./web`.
fn is_named_after(name: &[u8], exe: &[u8]) -> bool {
    let exe = exe.strip_suffix(b" (deleted)").unwrap_or(exe);
    let last = |path: &[u8]| {
        path.rsplit(|byte| *byte == b'/').next() == exe.rsplit(|byte| *byte == b'/').next()
    };
    name == exe || !name.contains(&b' ') && last(name)
}

fn push_line(text: &mut String, line: &[u8], was_cut: bool) {
    let shown = cut(line, MAX_COMMAND_LINE_LEN);
    if !shown.is_empty() {
        push_for_terminal(text, shown);
    }
    if was_cut || shown.len() < line.len() {
        text.push('…');
    }
}

fn push_cut(text: &mut String, path: &[u8]) {
    let shown = cut(path, MAX_PATH_LEN);
    push_for_terminal(text, shown);
    if shown.len() < path.len() {
        text.push('…');
    }
}
