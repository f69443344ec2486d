//! The core alone: no kernel, no root.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::report::Row;
use crate::{
    command::{announce, run, stdout_of},
    ebpf::EbpfObject,
    workspace::Workspace,
};

/// Transitions a second through decoder and core, and findings as JSON, on a recorded stream.
pub fn speed(workspace: &Workspace, recording: &Path) -> Result<Vec<Row>> {
    run(
        cargo(workspace, "bench")?
            .args(["--bench", "core", "--", "--noplot"])
            .env("TCPCLOSE_RECORDING", recording),
        "`cargo bench --bench core`",
    )?;
    let result = |name: &str| -> Result<f64> {
        let directory = workspace
            .target
            .join("criterion/core")
            .join(name)
            .join("new");
        let read = |file: &str| -> Result<Value> {
            let path = directory.join(file);
            let text = std::fs::read(&path)
                .with_context(|| format!("criterion has left no {}", path.display()))?;
            Ok(serde_json::from_slice(&text)?)
        };
        let ns = read("estimates.json")?["median"]["point_estimate"].as_f64();
        let elements = read("benchmark.json")?["throughput"]["Elements"].as_f64();
        let (ns, elements) = ns
            .zip(elements)
            .context("criterion's files are not as expected")?;
        Ok(elements / ns * 1e9)
    };
    let tracked = result("decode_and_track")?;
    let json = result("json")?;
    Ok(vec![
        Row::new(
            'e',
            "transitions decoded and tracked",
            "M/s",
            vec![tracked / 1e6],
        )
        .demands("at least 5", |value| value >= 5.0),
        Row::new(
            'e',
            "CPU for the JSON of the findings of 1 M transitions",
            "s",
            vec![1e6 / json],
        ),
    ])
}

/// What so many live endpoints take in the core: a line of `testing/bench/src/bin/memory.rs`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct LiveEndpoints {
    /// How many.
    pub endpoints: u64,
    /// Memory of all, counted by the allocator.
    pub bytes: f64,
    /// Its peak: tables grow by copying.
    pub peak_bytes: f64,
    /// Time to open all.
    pub seconds: f64,
}

/// Runs the built bench.
pub fn live_endpoints(bench: &Path) -> Result<Vec<LiveEndpoints>> {
    let output = stdout_of(&mut Command::new(bench))?;
    output
        .lines()
        .map(|line| serde_json::from_str(line).context("the bench's output is not as expected"))
        .collect()
}

impl LiveEndpoints {
    /// Memory for one.
    pub fn bytes_per_endpoint(self) -> f64 {
        self.bytes / self.endpoints as f64
    }
}

/// Bytes for each live end, demanded.
pub const MAX_BYTES_PER_ENDPOINT: f64 = 176.0;

/// The sizes for which that is demanded; the plot has more.
pub fn demanded(sizes: &[LiveEndpoints]) -> impl Iterator<Item = LiveEndpoints> {
    let sizes = sizes.iter().copied();
    sizes.filter(|size| [1_000, 100_000, 1_000_000].contains(&size.endpoints))
}

/// Memory and time for each endpoint.
pub fn memory_rows(sizes: &[LiveEndpoints]) -> Vec<Row> {
    let rows = |size: LiveEndpoints| {
        let memory = format!("memory for each of {} live endpoints", size.endpoints);
        let time = format!("time to open {} endpoints, each", size.endpoints);
        let ns = size.seconds / size.endpoints as f64 * 1e9;
        [
            Row::new('f', memory, "bytes", vec![size.bytes_per_endpoint()])
                .demands("at most 160", |value| value <= MAX_BYTES_PER_ENDPOINT),
            Row::new('f', time, "ns", vec![ns]),
        ]
    };
    demanded(sizes).flat_map(rows).collect()
}

/// Builds one of the programs of `testing/bench/` and returns where it is.
pub fn built(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    announce(format_args!("bench: compiling {name}"));
    run(
        cargo(workspace, "build")?.args(["--release", "--bin", name]),
        &format!("compiling {name}"),
    )?;
    Ok(workspace.target.join("release").join(name))
}

/// With the same eBPF object as the program, or each would compile tcpclose again.
fn cargo(workspace: &Workspace, verb: &str) -> Result<Command> {
    let mut command = workspace.cargo();
    command.args([verb, "--package", "tcpclose-bench"]);
    EbpfObject::provide(workspace)?.hand_to(&mut command);
    Ok(command)
}
