//! Man pages: one for the program, one for each subcommand.

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

/// The first words of a paragraph behind a command's options, and the section of a man page that it
/// becomes. The others are notes.
const SECTIONS: [(&str, &str); 4] = [
    ("Exit codes: ", "EXIT STATUS"),
    ("Signals: ", "SIGNALS"),
    ("Verdicts: ", "VERDICTS"),
    (EXAMPLES, "EXAMPLES"),
];

const EXAMPLES: &str = "Examples:\n";

/// Returns the pages, which bear this date, with the names of their files.
pub fn pages(command: Command, date: &str) -> Vec<(String, Vec<u8>)> {
    let mut program = command.disable_help_subcommand(true);
    program.build();
    let all: Vec<_> = std::iter::once(&program)
        .chain(
            program
                .get_subcommands()
                .filter(|command| !command.is_hide_set()),
        )
        .collect();
    let names: Vec<_> = all.iter().map(|command| title(command)).collect();
    all.iter()
        .map(|command| {
            let others = names.iter().filter(|name| **name != title(command));
            let others: Vec<_> = others.map(String::as_str).collect();
            (
                format!("{}.1", title(command)),
                page(command, &program, date, &others),
            )
        })
        .collect()
}

/// The name of a command's page, such as `tcpclose-watch`.
fn title(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, program: &Command, date: &str, others: &[&str]) -> Vec<u8> {
    let version = program.get_version().unwrap_or_default();
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").to_owned();
    let man = Man::new(command.clone().override_usage(usage))
        .title(title(command).to_uppercase())
        .date(date)
        .source(format!("tcpclose {version}"))
        .manual("tcpclose");
    let mut page = Vec::new();
    let standard = [
        Man::render_title,
        Man::render_name_section,
        Man::render_synopsis_section,
        Man::render_description_section,
        Man::render_options_section,
    ];
    for render in standard {
        render(&man, &mut page).expect("memory takes it");
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)
            .expect("memory takes it");
    }
    // What lies between a text and its list of values is an empty line, which needs no breaks
    // around it.
    let mut page = String::from_utf8(page)
        .expect("roff is text")
        .replace(".br\n\n.br\n", ".sp\n")
        .into_bytes();
    let mut roff = Roff::new();
    let after = command
        .get_after_long_help()
        .or_else(|| command.get_after_help());
    if let Some(after) = after {
        add_sections(&mut roff, &after.to_string());
    }
    if command.get_name() == "agent" {
        roff.control("SH", ["FILES"]);
        roff.control("TP", []);
        roff.text([bold("/etc/tcpclose/agent.toml")]);
        roff.text([roman(
            "The configuration that the service tcpclose-agent uses.",
        )]);
        roff.control("TP", []);
        roff.text([bold("/run/tcpclose/agent.sock")]);
        roff.text([roman(
            "The socket at which leaks, ports, triage and doctor ask the agent (run_directory, answer_commands).",
        )]);
    }
    add_see_also(&mut roff, others);
    roff.to_writer(&mut page).expect("memory takes it");
    page
}

/// Adds the paragraphs behind the options. Lines that are indented keep their breaks.
fn add_sections(roff: &mut Roff, text: &str) {
    let (mut notes, mut sections) = (Vec::new(), Vec::new());
    for paragraph in text.trim().split("\n\n") {
        let known = SECTIONS
            .iter()
            .find_map(|(words, section)| Some((*section, paragraph.strip_prefix(words)?)));
        match known {
            Some(section) => sections.push(section),
            None => notes.push(paragraph),
        }
    }
    if !notes.is_empty() {
        roff.control("SH", ["NOTES"]);
    }
    for (number, note) in notes.into_iter().enumerate() {
        if number > 0 {
            roff.control("PP", []);
        }
        add_lines(roff, note);
    }
    for (section, text) in sections {
        roff.control("SH", [section]);
        if section == "EXAMPLES" {
            // Not filled: each line is a command, with what it shows beside it.
            roff.control("nf", []);
            for line in text.lines() {
                roff.text([roman(line)]);
            }
            roff.control("fi", []);
        } else {
            add_lines(roff, text);
        }
    }
}

fn add_lines(roff: &mut Roff, text: &str) {
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            roff.control("br", []);
        }
        roff.text([roman(line.trim())]);
    }
}

fn add_see_also(roff: &mut Roff, names: &[&str]) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line = Vec::new();
    for (number, name) in names.iter().enumerate() {
        if number > 0 {
            line.push(roman(", "));
        }
        line.push(bold(*name));
        line.push(roman("(1)"));
    }
    roff.text(line);
    roff.control("PP", []);
    roff.text([roman("Documentation: /usr/share/doc/tcpclose/")]);
}
