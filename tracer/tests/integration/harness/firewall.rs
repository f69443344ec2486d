//! Rules of a firewall in a laboratory's namespace.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::lab::Lab;
use tcpclose_kit::netns::NetNs;
use tcpclose_kit::skip::skip;

/// Runs nft in the laboratory's namespace; `false` (and reported) where that fails.
pub fn nft(lab: &Lab, script: &str) -> bool {
    nft_in(&lab.ns, script)
}

/// Runs nft in a namespace; `false` (and reported) where that fails.
pub fn nft_in(ns: &NetNs, script: &str) -> bool {
    let ran = feed(ns, &["nft", "-f", "-"], script);
    if !ran {
        skip("no nft with what these rules need");
    }
    ran
}

/// Runs a program in a namespace, with this as its input; returns whether it succeeds.
pub fn feed(ns: &NetNs, program: &[&str], input: &str) -> bool {
    let run = ns.run(|| {
        let mut child = Command::new(program[0])
            .args(&program[1..])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        child.stdin.take().unwrap().write_all(input.as_bytes())?;
        child.wait()
    });
    run.is_ok_and(|status| status.success())
}
