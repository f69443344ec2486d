//! A process in the table, and where it runs.

use std::fmt::Write as _;

use super::INDENT;
use crate::host::container::Container;
use crate::host::process::Process;
use crate::host::unit::Unit;
use crate::output::escape::push_for_terminal;

/// Bytes of a command line that are shown.
const SHOWN_COMMAND_LINE: usize = 160;
/// Hexadecimal digits of a container's id that people use.
const SHORT_ID: usize = 12;

pub(super) fn push_process(text: &mut String, process: &Process) {
    let mut comm = String::new();
    push_for_terminal(&mut comm, &process.comm);
    let descriptors = match process.limit {
        Some(limit) => format!("{}/{limit}", process.open),
        None => process.open.to_string(),
    };
    let _ = write!(text, "{:>6} {comm:<15} {descriptors:<13}", process.pid);
    let container = process.container.as_ref();
    // A container's scope is named after the container.
    let unit = process
        .unit
        .as_ref()
        .filter(|unit| container.is_none_or(|container| !unit.name.contains(&container.id)));
    for (at, part) in [unit.map(shown_unit), container.map(shown_container)]
        .into_iter()
        .flatten()
        .enumerate()
    {
        text.push_str(if at == 0 { " " } else { ", " });
        text.push_str(&part);
    }
    text.truncate(text.trim_end().len());
}

fn shown_unit(unit: &Unit) -> String {
    let mut text = String::new();
    push_for_terminal(&mut text, unit.name.as_bytes());
    if let Some(user) = &unit.user {
        text.push(' ');
        push_for_terminal(&mut text, user.as_bytes());
    }
    text
}

fn shown_container(container: &Container) -> String {
    let mut text = String::new();
    push_container(&mut text, container);
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

pub(super) fn push_command(text: &mut String, process: &Process) {
    let Some(exe) = &process.exe else { return };
    text.push_str(INDENT);
    push_for_terminal(text, exe.as_os_str().as_encoded_bytes());
    let mut line = Vec::new();
    for argument in process.arguments().skip(1) {
        line.push(b' ');
        line.extend_from_slice(argument);
    }
    let cut = process.command_line_cut || line.len() > SHOWN_COMMAND_LINE;
    line.truncate(SHOWN_COMMAND_LINE);
    if !line.is_empty() {
        push_for_terminal(text, &line);
    }
    text.push_str(if cut { "…\n" } else { "\n" });
}
