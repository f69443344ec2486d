//! The logrotate file, against logrotate.

use crate::tool::{dist, find, run};

#[test]
fn logrotate_understands_it() {
    let Some(mut logrotate) = find("logrotate") else {
        return;
    };
    let file = dist().join("tcpclose-agent.logrotate");
    let (content, said) = run(&mut logrotate, ["--debug".as_ref(), file.as_os_str()]);
    let faults = said.lines().filter(|line| line.starts_with("error:"));
    assert!(content && faults.count() == 0, "{said}");
    assert!(said.contains("/var/log/tcpclose/*.jsonl"), "{said}");
}
