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

/// What it says when it is attached.
const WORKS: &str = "tcpclose: the agent is running";
/// A summary is shorter.
const LONGEST_SUMMARY: i64 = 256 << 10;

/// What it is to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// What it writes by default, no single closes, as JSON to a file.
    Little,
    /// Every finding as JSON to a file.
    EverythingToAFile,
    /// Every finding as JSON to /dev/null, where no disk and no reader holds it up.
    EverythingToNobody,
}

/// A running `tcpclose agent` with the default configuration, but for its outputs, for one namespace, and for one summary
/// in all: at its end.
pub struct Agent {
    /// The process.
    pub tracer: Tracer,
    findings: PathBuf,
}

/// Its last summary: that of all its time.
pub struct Told(Value);

impl Agent {
    /// Starts it in our own namespace, and waits until it is attached. Its files go to `directory`.
    pub fn start(program: &Path, directory: &Path, writes: Writes) -> Result<Self> {
        let findings = directory.join("findings.jsonl");
        // A file is appended to.
        let _ = fs::remove_file(&findings);
        let outputs = match writes {
            Writes::Little => "kinds = [\"leak\", \"summary\", \"loss\"]\n",
            Writes::EverythingToAFile => "",
            Writes::EverythingToNobody => {
                "kinds = [\"summary\", \"loss\"]\n[[output]]\ntype = \"stdout\"\n"
            }
        };
        let config = directory.join("agent.toml");
        let text = format!(
            "interval = \"1h\"\nrun_directory = {}\n[trace]\nnetns = \"/proc/self/ns/net\"\n\
             [[output]]\ntype = \"file\"\npath = {}\n{outputs}",
            quoted(&directory.join("run"))?,
            quoted(&findings)?,
        );
        fs::write(&config, text).context("cannot write the agent's configuration")?;
        let config = config.to_str().context("the path is no UTF-8")?;
        let args = ["agent", "--config", config];
        let tracer = Tracer::start(program, &args, Stdio::null(), Some(WORKS))?;
        Ok(Self { tracer, findings })
    }

    /// Stops it, and returns what it has reported all its time.
    pub fn stop(self) -> Result<Told> {
        let messages = self.tracer.stop()?;
        let mut file = File::open(&self.findings).context("the agent has written nothing")?;
        let length = i64::try_from(file.metadata()?.len())?;
        file.seek(SeekFrom::End(-length.min(LONGEST_SUMMARY)))?;
        let mut tail = Vec::new();
        file.read_to_end(&mut tail)?;
        // Others wait for the disk.
        fs::remove_file(&self.findings)?;
        let lines = tail.rsplit(|byte| *byte == b'\n');
        let mut summaries = lines.filter(|line| line.starts_with(br#"{"v":1,"kind":"summary""#));
        let summary = summaries.next().with_context(|| {
            format!("the agent has written no summary: {}", messages.join("; "))
        })?;
        Ok(Told(serde_json::from_slice(summary)?))
    }
}

fn quoted(path: &Path) -> Result<String> {
    // TOML's basic strings take JSON's escapes.
    let path = path.to_str().context("the path is no UTF-8")?;
    Ok(serde_json::to_string(path)?)
}

impl Told {
    fn number(&self, pointer: &str) -> Result<u64> {
        let number = self.0.pointer(pointer).and_then(Value::as_u64);
        number.with_context(|| format!("the agent's summary has no {pointer}"))
    }

    /// Ends whose close it has told.
    pub fn closed(&self) -> Result<u64> {
        self.number("/connections/closed")
    }

    /// Ends that live.
    pub fn live(&self) -> Result<u64> {
        self.number("/connections/live")
    }

    /// What was lost at `place`, in the words of JSON's `loss`.
    pub fn lost(&self, place: &str) -> Result<u64> {
        self.number(&format!("/lost/{place}"))
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
    fn what_no_output_wrote_is_added_up_and_what_is_not_reported_is_an_error() {
        let reported = Told(json!({
            "lost": {"ring": 3},
            "outputs": [{"dropped": 1, "failed": 2}, {"dropped": 4, "failed": 0}],
        }));
        assert_eq!(reported.unwritten().unwrap(), 7);
        assert_eq!(reported.lost("ring").unwrap(), 3);
        assert!(reported.lost("table").is_err());
    }
}
