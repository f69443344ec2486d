//! The Helm chart in dist/, as the manifests that helm makes of it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::skip::find_program;

/// Values with which the chart can be rendered: the image has no default.
pub const IMAGE: [&str; 2] = ["--set", "image.repository=registry.example/tools/tcpclose"];

/// Returns where the chart is.
#[must_use]
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/helm/tcpclose")
}

/// helm, and a checker of manifests.
pub struct Helm {
    helm: PathBuf,
    validate: PathBuf,
}

impl Helm {
    /// Finds both. Skips the test where one is not installed.
    #[track_caller]
    #[must_use]
    pub fn find() -> Option<Self> {
        Some(Self {
            helm: find_program("helm")?,
            validate: find_program("kubernetes-validate")?,
        })
    }

    /// Runs `helm COMMAND CHART ARGS`. Returns its stdout, or its stderr where it fails.
    ///
    /// # Errors
    /// helm's messages.
    ///
    /// # Panics
    /// helm cannot be started.
    pub fn run(&self, command: &[&str], args: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.helm)
            .args(command)
            .arg(chart())
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(text(&output.stderr) + &text(&output.stdout)),
        }
    }

    /// Renders the chart for a version of Kubernetes.
    ///
    /// # Errors
    /// helm's messages.
    pub fn template(&self, kubernetes: &str, args: &[&str]) -> Result<String, String> {
        let command = ["template", "test", "--kube-version", kubernetes];
        self.run(&command, args)
    }

    /// Checks manifests against the schemas of a version of Kubernetes, in which no other fields
    /// may be. Returns the checker's messages.
    ///
    /// # Errors
    /// The same, where a manifest is not valid.
    ///
    /// # Panics
    /// The checker cannot be started.
    pub fn validate(&self, kubernetes: &str, manifests: &Path) -> Result<String, String> {
        let output = Command::new(&self.validate)
            .args(["--strict", "-k", kubernetes])
            .arg(manifests)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            Err(text)
        }
    }

    /// Reads manifests. The checker's own Python has what reads YAML.
    ///
    /// # Panics
    /// They are not YAML.
    #[must_use]
    pub fn read(&self, manifests: &str) -> Vec<Value> {
        const SCRIPT: &str = "import json, sys, yaml\n\
            json.dump([one for one in yaml.safe_load_all(sys.stdin) if one], sys.stdout)";
        let python = self.validate.canonicalize().unwrap();
        let mut python = Command::new(python.with_file_name("python3"))
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = python.stdin.take().unwrap();
        stdin.write_all(manifests.as_bytes()).unwrap();
        drop(stdin);
        let output = python.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Returns the only manifest of this kind.
///
/// # Panics
/// There is none, or there are several.
#[must_use]
pub fn of_kind<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let found: Vec<&Value> = manifests
        .iter()
        .filter(|manifest| manifest["kind"] == kind)
        .collect();
    let [one] = found[..] else {
        panic!("{} of {kind}", found.len());
    };
    one
}
