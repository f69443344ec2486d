//! What others know of the fleet: its inventory, and what was deployed when.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::json;
use tcpclose_core::types::Nanos;

use crate::faults::Faults;
use crate::fleet::{Fleet, rack_name};
use crate::services::SERVICES;

/// Writes `hosts.jsonl` and `deploys.jsonl`.
///
/// # Errors
/// A file cannot be written.
pub fn write(
    out: &Path,
    fleet: &Fleet,
    faults: &Faults,
    time: impl Fn(Nanos) -> Result<Timestamp>,
) -> Result<()> {
    let create = |name: &str| -> Result<_> {
        let path = out.join(name);
        let file = File::create(&path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        Ok(BufWriter::new(file))
    };
    let mut hosts = create("hosts.jsonl")?;
    for host in &fleet.hosts {
        let line = json!({
            "host": host.name,
            "rack": rack_name(host.rack),
            "addresses": [host.address],
        });
        writeln!(hosts, "{line}")?;
    }
    hosts.flush()?;
    let mut deploys = create("deploys.jsonl")?;
    for deploy in &faults.deploys {
        let hosts = fleet.with_service(deploy.service);
        for (place, host) in hosts.iter().enumerate() {
            let line = json!({
                "ts": time(deploy.at_host(place))?.to_string(),
                "host": fleet.hosts[*host].name,
                "service": SERVICES[deploy.service].name,
                "version": deploy.version,
            });
            writeln!(deploys, "{line}")?;
        }
    }
    deploys.flush()?;
    Ok(())
}
