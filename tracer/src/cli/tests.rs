//! Checks that the program accepts the commands that the documents show.

use clap::Parser as _;

use super::Cli;

macro_rules! documents {
    ($($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../../", $name))),)*]
    };
}

const DOCUMENTS: &[(&str, &str)] = documents![
    "README.md",
    "ARCHITECTURE.md",
    "docs/compare.md",
    "docs/json.md",
    "docs/leaks.md",
    "docs/metrics.md",
    "docs/operations.md",
    "docs/outputs.md",
    "docs/recording.md",
    "docs/runbooks/502-after-idle.md",
    "docs/runbooks/cannot-assign-requested-address.md",
    "docs/runbooks/connection-reset-by-peer.md",
    "docs/runbooks/fin-wait2-does-not-go-away.md",
    "docs/runbooks/too-many-close-wait.md",
    "docs/top.md",
    "docs/watch.md",
];

/// Placeholders in the documents, each with a possible value.
const PLACEHOLDERS: [(&str, &str); 3] = [("PID", "1"), ("FILE", "closes.rec"), ("TIME", "5s")];

/// The first line of a recording, which resembles a command.
const NOT_A_COMMAND: &str = "recording";

/// Returns the arguments of the commands in a document: on indented lines, and between backticks.
fn commands(text: &str) -> Vec<String> {
    let indented = text.lines().filter_map(|line| line.strip_prefix("    "));
    let quoted = text.split('`').skip(1).step_by(2);
    let all = indented.chain(quoted).filter_map(|text| {
        let text = text.trim_start_matches(['$', ' ']);
        let text = text.strip_prefix("sudo ").unwrap_or(text);
        let arguments = text.strip_prefix("tcpclose ")?;
        // Two spaces, a redirection or a comment end the command.
        let ends = ["  ", " >", " |", " #"].map(|end| arguments.find(end));
        let end = ends.into_iter().flatten().min();
        Some(arguments[..end.unwrap_or(arguments.len())].replace('\n', " "))
    });
    all.collect()
}

#[test]
fn the_commands_of_the_documents_are_accepted() {
    let mut accepted = 0;
    for (document, text) in DOCUMENTS {
        for command in commands(text) {
            let text = command.split_whitespace().map(|word| {
                let chosen = PLACEHOLDERS.iter().find(|(name, _)| *name == word);
                chosen.map_or(word, |(_, value)| value)
            });
            let text: Vec<&str> = text.collect();
            if text.first() == Some(&NOT_A_COMMAND) {
                continue;
            }
            if let Err(error) = Cli::try_parse_from(["tcpclose"].iter().chain(&text)) {
                panic!("{document}: tcpclose {command}: {error}");
            }
            accepted += 1;
        }
    }
    assert!(accepted > 30, "the documents show {accepted} commands");
}

#[test]
fn a_command_ends_before_the_prose_of_its_line() {
    for (line, expected) in [
        ("`tcpclose\nleaks --all`", &[][..]),
        ("`tcpclose leaks\n--all`", &["leaks --all"]),
        ("    tcpclose leaks    stuck sockets", &["leaks"][..]),
        ("    $ sudo tcpclose watch -4", &["watch -4"]),
        ("    tcpclose agent --help > file", &["agent --help"]),
        ("`tcpclose leaks` or `tcpclose watch`.", &["leaks", "watch"]),
        ("tcpclose watches", &[]),
    ] {
        assert_eq!(commands(line), expected, "{line}");
    }
}
