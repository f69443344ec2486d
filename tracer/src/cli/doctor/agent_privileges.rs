//! `tcpclose doctor --agent`: the capabilities that the agent keeps, and those of running agents.

use std::path::Path;
use std::process::ExitCode;

use crate::agent;
use crate::agent::config::Config;
use crate::cli::common::{EXIT_FAILED, print};
use tcpclose_sys::host::capabilities::{Capabilities, Capability, USED_CAPABILITIES};
use tcpclose_sys::host::privilege_drop::KeptCapability;
use tcpclose_sys::host::running_agents::{RunningAgent, running_agents};

/// Prints the capabilities. Returns exit code 0 if this process has all that the agent keeps, else
/// 2.
pub(super) fn run(file: Option<&Path>) -> anyhow::Result<ExitCode> {
    let config = match file {
        Some(file) => Config::read(file)?,
        None => Config::default(),
    };
    let kept = agent::needed_capabilities(&config);
    let have = Capabilities::on_host();
    let mut text = String::from("once it traces, the agent keeps\n");
    for KeptCapability { capability, why } in &kept {
        let here = if have.has(*capability) { "yes" } else { "no " };
        text.push_str(&format!("  {here}  {:<20} {why}\n", capability.to_string()));
    }
    text.push_str("and gives up for good\n");
    for capability in USED_CAPABILITIES {
        if !kept.iter().any(|kept| kept.capability == capability) {
            text.push_str(&format!("       {capability}\n"));
        }
    }
    text.push_str(
        "       all others that it was started with; no_new_privs prevents regaining them\n",
    );
    let lacks = |kept: &&KeptCapability| !have.has(kept.capability);
    let missing: Vec<_> = kept
        .iter()
        .filter(lacks)
        .map(|kept| kept.capability.to_string())
        .collect();
    if !missing.is_empty() {
        text.push_str(&format!("this process lacks {}\n", missing.join(", ")));
    }
    let agents = running_agents();
    match &agents {
        Ok(agents) if agents.is_empty() => text.push_str("no agent is running here\n"),
        Ok(agents) => agents
            .iter()
            .for_each(|agent| text.push_str(&running_agent_text(agent))),
        Err(error) => text.push_str(&format!(
            "whether an agent is running cannot be determined: /proc: {error}\n"
        )),
    }
    print(&text)?;
    Ok(if missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

fn running_agent_text(agent: &RunningAgent) -> String {
    let RunningAgent {
        pid,
        capabilities,
        no_new_privs,
    } = agent;
    let capabilities = match capabilities.is_empty() {
        true => "no capabilities".to_owned(),
        false => capabilities
            .iter()
            .map(Capability::to_string)
            .collect::<Vec<_>>()
            .join(", "),
    };
    let more = match no_new_privs {
        true => "and can get no more (no_new_privs)",
        false => "and could get more by executing a program: it has not attached yet",
    };
    format!("running agent {pid} has {capabilities}, {more}\n")
}
