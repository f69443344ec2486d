//! Configurations that are made to do harm, and every kind of value where another one is needed.

use std::time::{Duration, Instant};

use super::*;

fn refused(text: &str) -> String {
    let error = Config::parse(text, "agent.toml").expect_err("it is invalid");
    error.to_string()
}

#[test]
fn words_of_the_file_are_shown_escaped() {
    for (text, expected) in [
        (
            r#"interval = "\u001b[31mred\u202e""#,
            r"`\x1b[31mred\u{202e}`",
        ),
        (r#"interval = "a\nb""#, "`a b`"),
        (r#""\u001b]0;x" = 1"#, r"`\x1b]0;x`"),
        (
            "[[output]]\ntype = \"file\"\npath = \"/a\\u001bb\"\n[[output]]\ntype = \"file\"\npath = \"/a\\u001bb\"",
            r"file:/a\x1bb",
        ),
    ] {
        let message = refused(text);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}

#[test]
fn long_words_of_the_file_are_cut() {
    let long = "A".repeat(200_000);
    for text in [
        format!("stuck_after = \"{long}\""),
        format!("{long} = 1"),
        format!("interval = {long}"),
        format!("[prometheus]\nlisten = \"{long}\""),
        format!("[[output]]\ntype = \"{long}\""),
        format!("[[output]]\ntype = \"syslog\"\naddress = \"{long}\""),
        format!("[[output]]\ntype = \"stdout\"\nname = \"{long}\""),
        format!("[[output]]\ntype = \"stdout\"\nfilter = {{ processes = [\"{long}\"] }}"),
        format!("[[output]]\ntype = \"stdout\"\nfilter = {{ namespaces = [\"{long}/\"] }}"),
        format!("[[output]]\ntype = \"file\"\npath = \"/{long}\"\n").repeat(2),
    ] {
        let message = refused(&text);
        assert!(message.len() < 1_000, "{} bytes", message.len());
        assert!(message.starts_with("agent.toml:"), "{message}");
    }
    let shown = refused(&format!("stuck_after = \"{long}\""));
    assert!(
        shown.contains("AAA…` is not a duration; write it like"),
        "{shown}"
    );
}

/// A comparison of each output with each other one took 3 s for 2,000 of them.
#[test]
fn thousands_of_outputs_take_no_quadratic_time() {
    let outputs = |count: usize| -> String {
        let output =
            |number| format!("[[output]]\ntype = \"file\"\npath = \"/nowhere/{number}\"\n");
        (0..count).map(output).collect()
    };
    let time = |count| {
        let text = format!("[prometheus]\nenabled = false\n{}", outputs(count));
        let start = Instant::now();
        let config = Config::parse(&text, "agent.toml").expect("it is valid");
        assert_eq!(config.outputs.len(), count);
        start.elapsed()
    };
    let _warm = time(100);
    let (few, many) = (time(1_000), time(8_000));
    // Linear is 8 times, quadratic 64 times; the host may be busy.
    assert!(
        many < few * 40 + Duration::from_millis(100),
        "{few:?}, {many:?}"
    );
    let last = format!(
        "{}[[output]]\ntype = \"file\"\npath = \"/nowhere/../nowhere/7\"\n",
        outputs(50)
    );
    assert!(refused(&last).contains(":151:1: the outputs here and at 22:1 both write"));
}

/// Each key with a value of each kind: where it is refused, the message has no word of Rust's.
#[test]
fn no_message_has_words_of_rust() {
    let keys = [
        (
            "",
            "interval stuck_after max_connections run_directory state_file answer_commands pair_key sample rollups trace prometheus output",
        ),
        ("[trace]\n", "local_ports peer_ports ip_version netns"),
        ("[prometheus]\n", "enabled listen max_series"),
        (
            "[[output]]\ntype = \"otlp\"\n",
            "type name kinds filter rate_limit queue endpoint ca_file protocol temporality headers header_files resource",
        ),
        (
            "[[output]]\ntype = \"http\"\n",
            "url compression batch batch_delay timeout headers header_files ca_file",
        ),
        ("[[output]]\ntype = \"file\"\n", "path"),
        (
            "[[output]]\ntype = \"syslog\"\n",
            "address facility sd_id max_size",
        ),
        (
            "[[output]]\ntype = \"stdout\"\nfilter.",
            "local_ports peer_ports processes containers pods namespaces path initiator min_lifetime no_loopback",
        ),
        (
            "[[output]]\ntype = \"stdout\"\nrate_limit.",
            "per_second burst",
        ),
    ];
    let values = [
        "true",
        "-1",
        "1.5",
        "inf",
        "99999999999",
        "\"x\"",
        "[]",
        "[true]",
        "[[1]]",
        "{}",
        "{ x = 1 }",
        "1979-05-27",
    ];
    let (mut messages, mut strange) = (0, Vec::new());
    for (table, names) in keys {
        for (name, value) in names
            .split(' ')
            .flat_map(|name| values.map(|value| (name, value)))
        {
            let text = format!("{table}{name} = {value}\n");
            let Err(error) = Config::parse(&text, "agent.toml") else {
                continue;
            };
            let error = error.to_string();
            messages += 1;
            let words = [
                "i8",
                "i16",
                "i32",
                "i64",
                "u8",
                "u16",
                "u32",
                "u64",
                "usize",
                "f64",
                "nonzero",
                "struct ",
                "enum",
                "variant identifier",
                "tuple",
                "newtype",
                "sequence",
                "a map",
                "map,",
                "untagged",
                "Option",
            ];
            if words.iter().any(|word| error.contains(word)) {
                strange.push(error);
            }
        }
    }
    assert!(messages > 200, "{messages}");
    assert!(strange.is_empty(), "{strange:#?}");
}
