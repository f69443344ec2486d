//! Finds the agents that run on this host, and reads what each of them may do.
//!
//! Not by the crate `procfs`, for the reasons in `proc_dir.rs`: each process of the host is looked
//! at.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use caps::{CapSet, Capability, CapsHashSet};

use super::proc_dir::numbered_entries;

/// An agent that runs on this host, and what it still may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningAgent {
    /// Its process id.
    pub pid: u32,
    /// All capabilities that one of its threads has or can have back, in the order of their
    /// numbers.
    pub capabilities: Vec<Capability>,
    /// Executing a program gives none of its threads more (`PR_SET_NO_NEW_PRIVS`).
    pub no_new_privs: bool,
}

/// Returns all agents that this process can see: by their names and arguments, as nothing else
/// identifies them.
///
/// # Errors
/// /proc cannot be listed.
pub fn running_agents() -> io::Result<Vec<RunningAgent>> {
    let mut agents = Vec::new();
    for pid in numbered_entries(Path::new("/proc"))? {
        let pid = pid?;
        // One that exits meanwhile is left out.
        if let Ok(true) = is_agent(pid)
            && let Some(agent) = running_agent(pid)
        {
            agents.push(agent);
        }
    }
    Ok(agents)
}

fn is_agent(pid: u32) -> io::Result<bool> {
    let comm = fs::read(format!("/proc/{pid}/comm"))?;
    let command_line = fs::read(format!("/proc/{pid}/cmdline"))?;
    let mut arguments = command_line.split(|&byte| byte == 0).skip(1);
    Ok(comm == b"tcpclose\n" && arguments.any(|argument| argument == b"agent"))
}

/// Reads what an agent may do, from all its threads: capabilities belong to threads.
fn running_agent(pid: u32) -> Option<RunningAgent> {
    let mut all = CapsHashSet::new();
    let mut no_new_privs = true;
    let threads = PathBuf::from(format!("/proc/{pid}/task"));
    for tid in numbered_entries(&threads).ok()? {
        let tid = tid.ok()?;
        let kernel_tid = i32::try_from(tid).ok()?;
        all.extend(caps::read(Some(kernel_tid), CapSet::Permitted).ok()?);
        let status = fs::read_to_string(threads.join(format!("{tid}/status"))).ok()?;
        no_new_privs &= status.contains("\nNoNewPrivs:\t1\n");
    }
    let mut capabilities: Vec<Capability> = all.into_iter().collect();
    capabilities.sort_unstable_by_key(Capability::index);
    Some(RunningAgent {
        pid,
        capabilities,
        no_new_privs,
    })
}
