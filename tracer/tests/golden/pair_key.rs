//! Recordings hold sequence numbers: the key of the pair ids is that of the replay.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tcpclose_kit::scratch::Scratch;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/closes.rec");

const KEY: &str = "00112233445566778899aabbccddeeff";

/// The pair ids of the closes that a command writes.
fn pairs(arguments: &[&str]) -> Vec<Option<String>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
    let output = command.args(arguments).output().expect("it runs");
    let lines = String::from_utf8(output.stdout).expect("UTF-8");
    let records = lines.lines().map(serde_json::from_str);
    let records: Vec<Value> = records.map(|record| record.expect("JSON")).collect();
    let closes = records.iter().filter(|record| record["kind"] == "close");
    closes
        .map(|close| close["conn"]["pair"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_replay_takes_the_key_of_the_command_line_or_of_the_configuration() {
    let scratch = Scratch::new();
    let (file, config) = (scratch.path("pair.key"), scratch.path("agent.toml"));
    fs::write(&file, format!("{KEY}\n")).expect("a file");
    fs::write(&config, format!("pair_key = '{}'\n", file.display())).expect("a file");
    let (file, config) = (file.display().to_string(), config.display().to_string());
    let watch = ["watch", "--json", "--replay", RECORDING];
    let with = |more: &[&str]| pairs(&[&watch[..], more].concat());
    let (public, own) = (with(&[]), with(&["--pair-key", KEY]));
    assert!(public.iter().any(Option::is_some), "{public:?}");
    for (public, own) in public.iter().zip(&own) {
        assert_eq!(public.is_some(), own.is_some());
        assert!(public.is_none() || public != own, "{public:?}");
    }
    assert_eq!(with(&["--pair-key", &file]), own);
    assert_eq!(
        pairs(&["agent", "--config", &config, "--replay", RECORDING]),
        own
    );
}
