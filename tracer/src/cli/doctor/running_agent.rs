//! The row about the agent that commands may ask.

use std::time::Duration;

use super::check::{Check, MissingFeature};
use crate::agent_socket::AgentAddress;

pub(super) fn running_agent() -> Check {
    let asked = AgentAddress::default().try_to_ask(|agent| agent.status());
    let found = match asked {
        Ok(status) => {
            let running_for = Duration::from_nanos((status.at - status.started).0);
            let running_for =
                humantime::format_duration(Duration::from_secs(running_for.as_secs()));
            Ok(format!(
                "version {} answers leaks, ports and triage (process {}, running for {running_for})",
                status.version, status.pid
            ))
        }
        Err(error) => Err(MissingFeature::new(
            error.to_string(),
            "leaks estimates ages, and ports does not know the processes of TIME_WAITs",
            match error.is_not_permitted() {
                true => "run this as root",
                false => "start `tcpclose agent` (docs/operations.md)",
            },
        )),
    };
    Check {
        name: "running agent",
        found,
    }
}
