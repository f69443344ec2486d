//! A process in the table, and where it runs.

use std::fmt::Write as _;

use super::INDENT;
use crate::output::escape::{cut, push_for_terminal};
use tcpclose_core::process::Container;
use tcpclose_core::process::Process;
use tcpclose_core::process::Unit;

/// Bytes of a command line that are shown.
const SHOWN_COMMAND_LINE: usize = 160;
/// Bytes of a path that are shown.
const SHOWN_PATH: usize = 256;
/// Hexadecimal digits of a container's id that people use.
const SHORT_ID: usize = 12;

pub(super) fn push_name(text: &mut String, process: &Process) {
    let _ = write!(text, " {:>6} ", process.pid);
    push_for_terminal(text, &process.comm);
}

pub(super) fn push_process(text: &mut String, process: &Process) {
    let mut comm = String::new();
    push_for_terminal(&mut comm, &process.comm);
    let descriptors = match process.limit {
        Some(limit) => format!("{}/{limit}", process.open),
        None => process.open.to_string(),
    };
    let _ = write!(text, "{:>6} {comm:<15} {descriptors:<13}", process.pid);
    let container = process.container.as_ref();
    let unit = process
        .unit
        .as_ref()
        .filter(|unit| container.is_none_or(|container| !is_of(unit, container)));
    let mut place = Vec::from_iter(unit.map(shown_unit));
    place.extend(container.map(shown_container));
    if place.is_empty() {
        let path = process.cgroup.as_deref().filter(|path| *path != "/");
        place.extend(path.map(shown_cgroup));
    }
    if !place.is_empty() {
        let _ = write!(text, " {}", place.join(", "));
    }
    text.truncate(text.trim_end().len());
}

/// Whether a unit is there for a container alone, and named after it.
fn is_of(unit: &Unit, container: &Container) -> bool {
    let machine = ["machine-", "systemd-nspawn@"].iter();
    let is_machine = matches!(container.runtime, "systemd-nspawn" | "lxc")
        && machine.clone().any(|start| unit.name.starts_with(start));
    is_machine || unit.name.contains(&container.id)
}

fn shown_unit(unit: &Unit) -> String {
    let mut text = String::new();
    push_unit(&mut text, &unit.name);
    if let Some(user) = &unit.user {
        text.push(' ');
        push_unit(&mut text, user);
    }
    text
}

/// As systemctl takes it: `\x2d` is a part of the name.
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

fn shown_container(container: &Container) -> String {
    let mut text = String::new();
    push_container(&mut text, container);
    text
}

fn shown_cgroup(path: &str) -> String {
    let mut text = "cgroup ".to_owned();
    push_cut(&mut text, path.as_bytes());
    text
}

pub(super) fn push_container(text: &mut String, container: &Container) {
    let is_hash =
        container.id.len() == 64 && container.id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = if is_hash {
        &container.id[..SHORT_ID]
    } else {
        &container.id
    };
    let _ = write!(text, "{} ", container.runtime);
    push_for_terminal(text, id.as_bytes());
    if let Some(pod) = &container.pod {
        text.push_str(" pod ");
        push_for_terminal(text, pod.as_bytes());
    }
}

/// What it runs: its executable with the arguments, or, where a process gives itself a title or
/// another name, the executable with what ps shows in brackets.
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
    let shown = cut(line, SHOWN_COMMAND_LINE);
    if !shown.is_empty() {
        push_for_terminal(text, shown);
    }
    if was_cut || shown.len() < line.len() {
        text.push('…');
    }
}

fn push_cut(text: &mut String, path: &[u8]) {
    let shown = cut(path, SHOWN_PATH);
    push_for_terminal(text, shown);
    if shown.len() < path.len() {
        text.push('…');
    }
}
