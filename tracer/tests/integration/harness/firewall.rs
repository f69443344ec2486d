//! Rules of a firewall in a laboratory's namespace.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::lab::Lab;
use tcpclose_kit::skip::skip;

/// Runs nft in the laboratory's namespace; `false` (and reported) where that fails.
pub fn nft(lab: &Lab, script: &str) -> bool {
    let run = lab.ns.run(|| {
        let mut child = Command::new("nft")
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        child.stdin.take().unwrap().write_all(script.as_bytes())?;
        child.wait()
    });
    let ran = run.is_ok_and(|status| status.success());
    if !ran {
        skip("no nft with what these rules need");
    }
    ran
}
