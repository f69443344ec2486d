//! The core alone: no kernel, no root.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::report::Row;
use crate::{
    command::{run, stdout_of},
    workspace::Workspace,
};

/// Transitions a second through decoder and core, and findings as JSON, on a recorded stream.
pub fn speed(workspace: &Workspace, recording: &Path) -> Result<Vec<Row>> {
    run(
        workspace
            .cargo()
            .args([
                "bench",
                "--package",
                "tcpclose",
                "--bench",
                "core",
                "--",
                "--noplot",
            ])
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

/// Bytes for each live end, with a counting allocator.
pub fn memory(workspace: &Workspace) -> Result<Vec<Row>> {
    let lines =
        stdout_of(
            workspace
                .cargo()
                .args(["bench", "--package", "tcpclose", "--bench", "memory"]),
        )?;
    let mut rows = Vec::new();
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        let line: Value = serde_json::from_str(line)?;
        let number = |name: &str| {
            line[name]
                .as_f64()
                .context("the bench's output is not as expected")
        };
        let ends = number("ends")?;
        rows.push(
            Row::new(
                'f',
                format!("memory for each of {ends} live ends"),
                "bytes",
                vec![number("bytes_each")?],
            )
            .demands("at most 160", |value| value <= 160.0),
        );
        rows.push(Row::new(
            'f',
            format!("time to open {ends} ends, each"),
            "ns",
            vec![number("seconds")? / ends * 1e9],
        ));
    }
    Ok(rows)
}
