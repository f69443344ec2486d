//! The daemon as it is measured, and what it reports itself at its end.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::tracer::Tracer;

/// What it prints when it is attached.
const READY_MESSAGE: &str = "tcpclose: the agent is running";
/// In bytes; a summary is shorter.
const MAX_SUMMARY_SIZE: i64 = 256 << 10;

/// What it is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// What it writes by default, no single closes, as JSON to a file.
    Default,
    /// Every finding as JSON to a file.
    EverythingToAFile,
    /// Every finding as JSON to /dev/null, where neither a disk nor a reader slows it down.
    EverythingToDevNull,
}

/// A running `tcpclose agent` with the default configuration, but for its outputs, for one
/// namespace, and for one summary in all: at its end.
pub struct Agent {
    /// The process.
    pub tracer: Tracer,
    findings: PathBuf,
}

/// Its last summary, which covers its whole run time.
pub struct AgentSummary(Value);

impl Agent {
    /// Starts it in our own namespace, and waits until it is attached. Its files go to `directory`.
    pub fn start(program: &Path, directory: &Path, writes: Writes) -> Result<Self> {
        Self::start_with(program, directory, writes, "")
    }

    /// Does as [`Self::start`], with more keys of the configuration.
    pub fn start_with(
        program: &Path,
        directory: &Path,
        writes: Writes,
        keys: &str,
    ) -> Result<Self> {
        let findings = directory.join("findings.jsonl");
        // A file is appended to.
        let _ = fs::remove_file(&findings);
        let outputs = match writes {
            Writes::Default => "kinds = [\"stuck\", \"summary\", \"loss\"]\n",
            Writes::EverythingToAFile => "",
            Writes::EverythingToDevNull => {
                "kinds = [\"summary\", \"loss\"]\n[[output]]\ntype = \"stdout\"\n"
            }
        };
        let config = directory.join("agent.toml");
        let text = format!(
            "interval = \"1h\"\n{keys}run_directory = {}\n[trace]\nnetns = \"/proc/self/ns/net\"\n\
             [[output]]\ntype = \"file\"\npath = {}\n{outputs}",
            quoted(&directory.join("run"))?,
            quoted(&findings)?,
        );
        fs::write(&config, text).context("cannot write the agent's configuration")?;
        let config = config.to_str().context("the path is no UTF-8")?;
        let args = ["agent", "--config", config];
        let tracer = Tracer::start(program, &args, Stdio::null(), Some(READY_MESSAGE))?;
        Ok(Self { tracer, findings })
    }

    /// The file that it writes to.
    pub fn findings(&self) -> &Path {
        &self.findings
    }

    /// Stops it, and returns the summary of its whole run time.
    pub fn stop(self) -> Result<AgentSummary> {
        let messages = self.tracer.stop()?;
        let mut file = File::open(&self.findings).context("the agent has written nothing")?;
        let length = i64::try_from(file.metadata()?.len())?;
        file.seek(SeekFrom::End(-length.min(MAX_SUMMARY_SIZE)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        // Others wait for the disk.
        fs::remove_file(&self.findings)?;
        let lines = tail.rsplit(|byte| *byte == b'\n');
        let mut summaries = lines.filter(|line| line.starts_with(br#"{"v":1,"kind":"summary""#));
        let summary = summaries.next().with_context(|| {
            format!("the agent has written no summary: {}", messages.join("; "))
        })?;
        Ok(AgentSummary(serde_json::from_slice(summary)?))
    }
}

fn quoted(path: &Path) -> Result<String> {
    // TOML's basic strings take JSON's escapes.
    let path = path.to_str().context("the path is no UTF-8")?;
    Ok(serde_json::to_string(path)?)
}

impl AgentSummary {
    fn number(&self, pointer: &str) -> Result<u64> {
        let number = self.0.pointer(pointer).and_then(Value::as_u64);
        number.with_context(|| format!("the agent's summary has no {pointer}"))
    }

    /// Its size in bytes, as a line of JSON.
    pub fn size(&self) -> Result<usize> {
        Ok(serde_json::to_vec(&self.0)?.len())
    }

    /// Endpoints whose close it has reported.
    pub fn closed(&self) -> Result<u64> {
        self.number("/connections/closed")
    }

    /// Live endpoints.
    pub fn live(&self) -> Result<u64> {
        self.number("/connections/live")
    }

    /// What was lost at `location`, a word of JSON's `loss`.
    pub fn lost(&self, location: &str) -> Result<u64> {
        self.number(&format!("/lost/{location}"))
    }

    /// Findings that its outputs have not written.
    pub fn unwritten(&self) -> Result<u64> {
        let outputs = self.0["outputs"].as_array();
        let outputs = outputs.context("the agent's summary has no outputs")?;
        (0..outputs.len())
            .flat_map(|output| {
                ["dropped", "failed"].map(|what| format!("/outputs/{output}/{what}"))
            })
            .map(|pointer| self.number(&pointer))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unwritten_findings_are_summed_and_a_missing_field_is_an_error() {
        let reported = AgentSummary(json!({
            "lost": {"ring": 3},
            "outputs": [{"dropped": 1, "failed": 2}, {"dropped": 4, "failed": 0}],
        }));
        assert_eq!(reported.unwritten().unwrap(), 7);
        assert_eq!(reported.lost("ring").unwrap(), 3);
        reported.lost("table").unwrap_err();
    }
}
