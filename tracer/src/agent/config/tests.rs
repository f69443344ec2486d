use std::fs;

use super::*;
use tcpclose_core::types::IpVersion;

fn refused(text: &str) -> String {
    Config::parse(text, "agent.toml")
        .expect_err("it is invalid")
        .to_string()
}

#[test]
fn the_printed_configuration_is_the_default() {
    let printed = Config::parse(DEFAULT_CONFIG, "default").expect("it is valid");
    assert_eq!(printed, Config::default());
    assert_eq!(Config::parse("", "empty"), Ok(Config::default()));
}

#[test]
fn without_a_file_everything_goes_to_stdout() {
    let config = Config::without_file();
    let targets: Vec<_> = config.outputs.iter().map(|output| &output.target).collect();
    assert_eq!(targets, [&Target::Stdout]);
    assert_eq!(config.outputs[0].kinds, Config::default().outputs[0].kinds);
}

/// Keys that are commented out in the default configuration can be read.
#[test]
fn every_key_in_the_comments_exists() {
    let text = DEFAULT_CONFIG
        .replace("# ip_version", "ip_version")
        .replace("# netns", "netns")
        .replace("# state_file", "state_file")
        .replace("# directory", "directory");
    let config = Config::parse(&text, "default").expect("it is valid");
    assert_eq!(config.trace.ip_version, Some(IpVersion::V4));
    assert_eq!(config.trace.netns.as_deref(), Some("4026531840"));
    let flight = Path::new("/var/lib/tcpclose/flight");
    assert_eq!(config.flight_recorder.directory.as_deref(), Some(flight));
    let state_file = Path::new("/var/lib/tcpclose/state");
    assert_eq!(config.state_file.as_deref(), Some(state_file));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_right_one() {
    assert_eq!(
        refused("\nintervall = \"60s\"\n"),
        "agent.toml:2:1: unknown field `intervall`: did you mean `interval`?"
    );
    assert_eq!(
        refused("[trace]\nlocal_port = [80]\n"),
        "agent.toml:2:1: unknown field `local_port`: did you mean `local_ports`?"
    );
    assert_eq!(
        refused("[prometheus]\n\nlistn = \"127.0.0.1:1\"\n"),
        "agent.toml:3:1: unknown field `listn`: did you mean `listen`?"
    );
    // A part too many, or too few.
    assert_eq!(
        refused("[prometheus]\nlisten_address = \"127.0.0.1:1\"\n"),
        "agent.toml:2:1: unknown field `listen_address`: did you mean `listen`?"
    );
    assert_eq!(
        refused("[[output]]\ntype = \"otlp\"\nprotocol = \"http\"\n"),
        "agent.toml:3:12: unknown variant `http`: did you mean `http/protobuf`?"
    );
    assert_eq!(
        refused("[[outputs]]\ntype = \"stdout\"\n"),
        "agent.toml:1:3: unknown field `outputs`: did you mean `output`?"
    );
    assert_eq!(
        refused("[[output]]\ntype = \"stdou\"\n"),
        "agent.toml:2:8: unknown variant `stdou`: did you mean `stdout`?"
    );
}

#[test]
fn a_word_that_is_unlike_all_keys_gets_the_whole_list() {
    let error = refused("colour = \"red\"\n");
    assert!(
        error.starts_with("agent.toml:1:1: unknown field `colour`, expected one of"),
        "{error}"
    );
    assert!(error.contains("`stuck_after`"), "{error}");
}

#[test]
fn an_invalid_value_is_one_line_with_its_position() {
    for (text, position, expected) in [
        (
            "interval = 60",
            "1:12",
            "a duration needs a unit: write \"60s\" for 60 seconds",
        ),
        (
            "interval = \"soon\"",
            "1:12",
            "`soon` is not a duration; write it like \"30s\" or \"5m\"",
        ),
        (
            "interval = \"10ms\"",
            "1:12",
            "an interval must be at least \"1s\"",
        ),
        ("# ä\nmax_connections = 0", "2:19", "a number from 1 to"),
        (
            "max_connections = 99999999999",
            "1:19",
            "a number from 1 to",
        ),
        (
            "stuck_after = \"1000000d\"",
            "1:15",
            "a duration is at most",
        ),
        ("run_directory = \"\"", "1:17", "a path must begin with `/`"),
        (
            "state_file = \"state\"",
            "1:14",
            "a path must begin with `/`, or be empty for no file",
        ),
        (
            "[trace]\nlocal_ports = [80, 0]",
            "2:15",
            "no connection has port 0",
        ),
        ("[trace]\nlocal_ports = [70000]", "2:15", "70000"),
        (
            "[trace]\nip_version = 5",
            "2:14",
            "there are IP versions 4 and 6",
        ),
        (
            "[prometheus]\nlisten = \"localhost\"",
            "2:10",
            "`localhost` is not an address with a port",
        ),
        (
            "[prometheus]\nenabled = \"yes\"",
            "2:11",
            "expected a boolean",
        ),
        (
            "[prometheus]\nlocal_ports = [443, 0]",
            "2:15",
            "a port is a number from 1 to 65535",
        ),
        ("[output]\ntype = \"file\"", "1:1", "as in [[output]]"),
        (
            "output = [ { type = \"stdout\" }, { type = \"file\" } ]",
            "1:33",
            "needs a `path`",
        ),
        ("a b", "1:3", ""),
        ("stuck_after = \"ä\" x", "1:19", ""),
    ] {
        let error = refused(text);
        assert!(
            error.starts_with(&format!("agent.toml:{position}: ")),
            "{position}: {error}"
        );
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}

/// The first output is valid; each fault is in the second one.
#[test]
fn an_invalid_output_has_the_position_of_its_key() {
    for (output, position, expected) in [
        ("type = \"file\"", "3:1", "needs a `path`"),
        (
            "type = \"file\"\npath = \"closes.jsonl\"",
            "5:1",
            "a `path` must begin with `/`",
        ),
        (
            "type = \"stdout\"\nqueue = 5\nsd_id = \"x@1\"",
            "6:1",
            "an output of type stdout has no `sd_id`",
        ),
        (
            "kinds = []\ntype = \"journald\"",
            "4:1",
            "an output without kinds writes nothing",
        ),
        ("kinds = [\"close\"]", "3:1", "missing field `type`"),
        (
            "type = \"stdout\"\nrate_limit = 5",
            "5:14",
            "expected a table like { per_second = 500, burst = 5000 }",
        ),
        (
            "type = \"journald\"\nqueue = 0",
            "5:9",
            "integer `0`, expected a number of at least 1",
        ),
        (
            "type = \"journald\"\nfilter = { local_ports = [70000] }",
            "5:26",
            "no connection has port 70000",
        ),
        (
            "type = \"otlp\"\nendpoint = \"http://\"",
            "5:12",
            "`http://` is not an address of a collector",
        ),
        (
            "type = \"otlp\"\nheaders = { \"bad header\" = \"x\" }",
            "5:11",
            "`bad header` with this value is not a valid HTTP header",
        ),
        (
            "type = \"otlp\"\nendpoint = \"http://h\"\nca_file = \"/ca.pem\"",
            "6:1",
            "a `ca_file` is for an endpoint that begins with https://",
        ),
        (
            "type = \"journald\"\nfilter = { path = [\"rest\"] }",
            "5:20",
            "did you mean `reset`?",
        ),
    ] {
        let error = refused(&format!(
            "[[output]]\ntype = \"stdout\"\n[[output]]\n{output}\n"
        ));
        assert!(
            error.starts_with(&format!("agent.toml:{position}: ")),
            "{position}: {error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn two_outputs_that_exclude_each_other_are_refused_with_both_positions() {
    let both = |one: &str, other: &str| format!("[[output]]\n{one}\n\n[[output]]\n{other}\n");
    assert_eq!(
        refused(&both(
            "type = \"stdout\"",
            "type = \"stdout\"\nname = \"x\""
        )),
        "agent.toml:4:1: the outputs here and at 1:1 both write to stdout: keep one of them"
    );
    assert_eq!(
        refused(&both(
            "type = \"file\"\nname = \"a\"\npath = \"/var/log/x\"",
            "type = \"file\"\nname = \"b\"\npath = \"/var/log//x\""
        )),
        "agent.toml:6:1: the outputs here and at 1:1 both write to file:/var/log/x: keep one of them"
    );
    assert_eq!(
        refused(&both("type = \"journald\"", "type = \"journald\"")),
        "agent.toml:4:1: the outputs here and at 1:1 are both called journald: keep one of them, or give one another `name`"
    );
    // Two outputs to one receiver are the operator's choice.
    let two = both("type = \"journald\"", "type = \"journald\"\nname = \"x\"");
    assert_eq!(
        Config::parse(&two, "agent.toml")
            .expect("right")
            .outputs
            .len(),
        2
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

#[test]
fn meaningless_values_are_refused_with_their_position() {
    let output = |keys: &str| format!("[[output]]\ntype = \"syslog\"\n{keys}\n");
    for (text, position, expected) in [
        ("stuck_after = \"99ms\"".to_owned(), "1:15", "at least \"100ms\" is needed"),
        (
            output("filter = { local_ports = [80, 0] }"),
            "3:",
            "no connection has port 0: ports are 1 to 65535",
        ),
        (
            output("filter = { peer_ports = [65536] }"),
            "3:",
            "no connection has port 65536",
        ),
        (
            output("filter = { processes = [\"sixteen-letters!\"] }"),
            "3:",
            "no process is called \"sixteen-letters!\": the kernel keeps 1 to 15 bytes of a name",
        ),
        (output("filter = { processes = [\"\"] }"), "3:", "no process is called \"\""),
        (
            output("filter = { min_lifetime = 10 }"),
            "3:",
            "a duration needs a unit: write \"10s\" for 10 seconds",
        ),
        (output("name = \"\""), "3:1", "a `name` must not be blank"),
        (output("name = \"a\\nb\""), "3:1", "contain control characters"),
        (
            output("queue = 1048577"),
            "3:1",
            "a `queue` holds 1048576 records at most",
        ),
        (
            output("address = \"udp://::1:514\""),
            "3:11",
            "`udp://::1:514` is not an address of a syslog receiver",
        ),
        (
            "[[output]]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:99999\"".to_owned(),
            "3:12",
            "is not an address of a collector",
        ),
        (
            "[[output]]\ntype = \"otlp\"\nendpoint = \"http://:80\"".to_owned(),
            "3:12",
            "is not an address of a collector",
        ),
        (
            "[[output]]\ntype = \"file\"\npath = \"/nowhere/x\"\n[[output]]\ntype = \"file\"\npath = \
             \"/nowhere/../nowhere/./x\""
                .to_owned(),
            "4:1",
            "the outputs here and at 1:1 both write to file:/nowhere/x",
        ),
    ] {
        let message = refused(&text);
        assert!(message.starts_with(&format!("agent.toml:{position}")), "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let fine = output("address = \"udp://[fe80::1%2]:514\"\nqueue = 1048576\nname = \"ä b\"");
    Config::parse(&fine, "agent.toml").expect("all of this is valid");
}

#[test]
fn a_password_in_an_endpoint_is_refused_and_not_shown() {
    let message =
        refused("[[output]]\ntype = \"otlp\"\nendpoint = \"http://me:secret@127.0.0.1:4318\"");
    assert!(message.starts_with("agent.toml:3:12: "), "{message}");
    assert!(
        message.contains("`headers`") && !message.contains("secret"),
        "{message}"
    );
}

#[test]
fn too_few_series_are_refused_with_the_number_that_is_needed() {
    let least = fixed_series(2, 0);
    let text = |series: usize| {
        format!(
            "[prometheus]\nmax_series = {series}\n[[output]]\ntype = \"stdout\"\n[[output]]\ntype = \"journald\""
        )
    };
    Config::parse(&text(least), "agent.toml").expect("they fit");
    let ports = "local_ports = [443, 5432]\n[[output]]\ntype = \"stdout\"";
    let with_ports = text(least).replacen("[[output]]\ntype = \"stdout\"", ports, 1);
    let more = least + 2 * 9;
    let message = refused(&with_ports);
    let needed = format!("at least {more} with 2 outputs and 2 local ports");
    assert!(message.contains(&needed), "{message}");
    let message = refused(&text(least - 1));
    assert!(message.starts_with("agent.toml:2:14: "), "{message}");
    assert!(
        message.contains(&format!("at least {least} with 2 outputs")),
        "{message}"
    );
}

#[test]
fn a_missing_network_namespace_is_refused_with_its_position() {
    let file = std::env::temp_dir().join(format!("tcpclose-netns-{}.toml", std::process::id()));
    fs::write(&file, "[trace]\nnetns = \"no-such-namespace\"\n").expect("a file");
    let message = Config::read_for_this_host(&file).expect_err("there is none");
    fs::remove_file(&file).expect("it is ours");
    let message = message.to_string();
    assert!(message.contains(".toml:2:9: "), "{message}");
    assert!(message.contains("no-such-namespace"), "{message}");
}
