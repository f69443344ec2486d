use super::*;

fn refused(text: &str) -> String {
    Config::parse(text, "agent.toml")
        .expect_err("it is wrong")
        .to_string()
}

#[test]
fn what_is_printed_is_the_default() {
    let printed = Config::parse(DEFAULT, "default").expect("it is right");
    assert_eq!(printed, Config::default());
    assert_eq!(Config::parse("", "empty"), Ok(Config::default()));
}

/// The keys that are only shown as comments are read as well.
#[test]
fn every_key_of_the_reference_is_one() {
    let text = DEFAULT
        .replace("# ip_version", "ip_version")
        .replace("# netns", "netns");
    let config = Config::parse(&text, "default").expect("it is right");
    assert_eq!(config.trace.ip_version, Some(Ip(IpVersion::V4)));
    assert_eq!(config.trace.netns.as_deref(), Some("4026531840"));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_right_one() {
    assert_eq!(
        refused("\nintervall = \"60s\"\n"),
        "agent.toml:2: unknown field `intervall`: did you mean `interval`?"
    );
    assert_eq!(
        refused("[trace]\nlocal_port = [80]\n"),
        "agent.toml:2: unknown field `local_port`: did you mean `local_ports`?"
    );
    assert_eq!(
        refused("[prometheus]\n\nlistn = \"127.0.0.1:1\"\n"),
        "agent.toml:3: unknown field `listn`: did you mean `listen`?"
    );
    assert_eq!(
        refused("[[outputs]]\ntype = \"stdout\"\n"),
        "agent.toml:1: unknown field `outputs`: did you mean `output`?"
    );
    assert_eq!(
        refused("[[output]]\ntype = \"stdou\"\n"),
        "agent.toml:2: unknown variant `stdou`: did you mean `stdout`?"
    );
}

#[test]
fn a_word_that_is_like_none_of_ours_gets_the_whole_list() {
    let error = refused("colour = \"red\"\n");
    assert!(
        error.starts_with("agent.toml:1: unknown field `colour`, expected one of"),
        "{error}"
    );
    assert!(error.contains("`stuck_after`"), "{error}");
}

#[test]
fn a_wrong_value_is_one_sentence_with_its_line() {
    for (text, line, words) in [
        (
            "interval = 60",
            1,
            "a time has a unit: write \"60s\" for 60 seconds",
        ),
        (
            "interval = \"soon\"",
            1,
            "`soon` is no time, write one like \"30s\" or \"5m\"",
        ),
        (
            "interval = \"10ms\"",
            1,
            "an interval is at least \"1s\" long",
        ),
        ("# a\nmax_connections = 0", 2, "a number from 1 to"),
        ("max_connections = 99999999999", 1, "a number from 1 to"),
        ("stuck_after = \"1000000d\"", 1, "a time is at most"),
        ("run_directory = \"\"", 1, "a path begins with `/`"),
        (
            "[trace]\nlocal_ports = [80, 0]",
            2,
            "no connection has port 0",
        ),
        ("[trace]\nlocal_ports = [70000]", 2, "70000"),
        (
            "[trace]\nip_version = 5",
            2,
            "there are IP versions 4 and 6",
        ),
        (
            "[prometheus]\nlisten = \"localhost\"",
            2,
            "`localhost` is no address with a port",
        ),
        ("[prometheus]\nenabled = \"yes\"", 2, "expected a boolean"),
        ("[[output]]\ntype = \"file\"", 1, "needs a `path`"),
        (
            "[[output]]\ntype = \"file\"\npath = \"closes.jsonl\"",
            1,
            "a `path` begins with `/`",
        ),
        (
            "[[output]]\ntype = \"otlp\"\nendpoint = \"http://\"",
            1,
            "`http://` names no host",
        ),
        (
            "[[output]]\ntype = \"otlp\"\nheaders = { \"bad header\" = \"x\" }",
            1,
            "`bad header` with that value cannot be a header",
        ),
        ("a b", 1, ""),
    ] {
        let error = refused(text);
        assert!(
            error.starts_with(&format!("agent.toml:{line}: ")),
            "{error}"
        );
        assert!(error.contains(words), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

#[test]
fn the_same_output_twice_is_refused() {
    let text = "[[output]]\ntype = \"stdout\"\n[[output]]\ntype = \"stdout\"\nkinds = [\"loss\"]\n";
    assert_eq!(
        refused(text),
        "agent.toml: outputs 1 and 2 are both stdout: keep one of them"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::read(Path::new("/no/such/agent.toml")).expect_err("it is not there");
    assert_eq!(
        error.to_string(),
        "/no/such/agent.toml cannot be read: No such file or directory (os error 2)"
    );
}
