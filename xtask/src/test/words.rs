//! A lint of words: names and comments that say nothing, words that docs/glossary.md has others
//! for, paths in documents that do not exist, and lines of prose that are longer than 100 columns.

use std::{ffi::OsStr, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::{command::announce, files::files_below, test_runner::Counts, workspace::Workspace};

/// Whose Rust sources are checked. Every Markdown file is.
const CRATES: &[&str] = &[
    "testing",
    "tracer",
    "tracer-common",
    "tracer-core",
    "tracer-ebpf",
    "tracer-sys",
    "xtask",
];
const MAX_COLUMNS: usize = 100;
/// What so few words say of something public, its name says, too.
const MAX_SHORT_WORDS: usize = 2;

/// Adjectives and nouns that do not say what a constant limits, times or counts (CONTRIBUTING.md).
const CONSTANTS: &[&str] = &[
    "EARLY",
    "KEPT",
    "LATE",
    "LONGEST",
    "MOST",
    "NAMED",
    "PATIENCE",
    "QUIET",
    "REMEMBERED",
    "REPORTED",
    "REST",
    "SMALL",
];
/// Words that no function's name has: see "probe", "poll", "scan" and "finding" in the glossary.
const FUNCTIONS: &[&str] = &[
    "look", "looked", "looks", "nobody", "said", "says", "tells", "told", "whoever",
];
/// Words that prose does without.
const PROSE: &[&str] = &["perhaps", "tells", "told", "whoever"];
/// An endpoint is called endpoint. "This ends" is a verb.
const ENDS: &[[&str; 2]] = &[
    ["an", "end"],
    ["both", "ends"],
    ["each", "end"],
    ["one", "end"],
    ["this", "end"],
];

/// Files that may use a word, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "SECURITY.md",
        "whoever",
        "an attacker is anyone who can do what the sentence says",
    ),
    ("xtask/src/test/words.rs", "", "the lists themselves"),
];

/// Checks all sources. Reports each finding with its file and line.
pub fn check(workspace: &Workspace) -> Result<Counts> {
    let mut findings = Vec::new();
    // What is built, or belongs to git or an editor, is left out.
    let enters = |name: &OsStr| name != "target" && !name.as_encoded_bytes().starts_with(b".");
    let mut files = files_below(&workspace.root, enters)?;
    files.retain(|file| file.extension().is_some_and(|it| it == "rs" || it == "md"));
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let file = file.strip_prefix(&workspace.root).unwrap_or(&file);
        let mut problems = problems(file, &text);
        if file.extension().is_some_and(|it| it == "md") {
            problems.extend(missing_paths(&workspace.root, &text));
        }
        for (number, problem) in problems {
            findings.push(format!("{}:{number}: {problem}", file.display()));
        }
    }
    for finding in &findings {
        announce(finding);
    }
    Ok(Counts::from_check(findings.is_empty()))
}

/// The problems of one file, each with the number of its line.
fn problems(file: &Path, text: &str) -> Vec<(usize, String)> {
    let is_source = file.extension().is_some_and(|extension| extension == "rs");
    if is_source && !CRATES.iter().any(|name| file.starts_with(name)) {
        return Vec::new();
    }
    let is_allowed = |word: &str| {
        let mut allowed = ALLOWED.iter();
        allowed.any(|(path, of, _)| file == Path::new(path) && (of.is_empty() || *of == word))
    };
    let mut problems = Vec::new();
    let mut is_code_block = false;
    for (number, line) in (1..).zip(text.lines()) {
        let is_prose = match is_source {
            true => line.trim_start().starts_with("//"),
            false => {
                is_code_block ^= line.starts_with("```");
                !is_code_block && !line.starts_with(['|', '!']) && !line.starts_with("    ")
            }
        };
        let words = if is_source && !is_prose {
            words_of_names(line)
        } else {
            words_of_prose(line)
        };
        let words = words.into_iter().filter(|word| !is_allowed(word));
        problems.extend(words.map(|word| (number, format!("do not use {word:?} here"))));
        let is_table = line.trim_start_matches([' ', '/', '!']).starts_with('|');
        if is_prose && !is_table && line.chars().count() > MAX_COLUMNS {
            problems.push((number, format!("longer than {MAX_COLUMNS} columns")));
        }
    }
    let has_api = ["tracer", "tracer-core", "tracer-sys"].map(|it| file.starts_with(it));
    if is_source && has_api.contains(&true) {
        problems.extend(short_comments(text));
    }
    problems
}

/// The paths in backticks that begin with a crate's name and do not exist, each with the number of
/// its line.
fn missing_paths(root: &Path, text: &str) -> Vec<(usize, String)> {
    let mut missing = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let quoted = line.split('`').skip(1).step_by(2);
        let paths = quoted.filter(|path| {
            let first = path.split_once('/').map(|(first, _)| first);
            first.is_some_and(|first| CRATES.contains(&first))
                && !path.contains(['*', ' ', ':', '<', '{'])
        });
        let absent = paths.filter(|path| !root.join(path).exists());
        missing.extend(absent.map(|path| (number, format!("there is no {path}"))));
    }
    missing
}

/// The documentation comments of at most two words on something public, which repeat its name, each
/// with the number of its line.
fn short_comments(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_comment = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("///"));
    let is_public = |at: usize| lines.get(at).is_some_and(|line| line.starts_with("pub "));
    let mut short = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(comment) = line.strip_prefix("/// ") else {
            continue;
        };
        let stands_alone = (at == 0 || !is_comment(at - 1)) && is_public(at + 1);
        if stands_alone && comment.split_whitespace().count() <= MAX_SHORT_WORDS {
            short.push((at + 1, format!("{comment:?} says no more than the name")));
        }
    }
    short
}

/// JSON's `not_told` is one word.
fn is_in_a_name(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// The unwanted words in names that a line of code gives.
fn words_of_names(line: &str) -> Vec<&str> {
    let mut tokens = line
        .split(|letter| !is_in_a_name(letter))
        .filter(|it| !it.is_empty());
    let Some(keyword) = tokens.find(|token| ["const", "fn", "static"].contains(token)) else {
        return Vec::new();
    };
    let name = tokens.next().unwrap_or_default();
    match keyword {
        "fn" if name == "of" => vec![name],
        "fn" => {
            let parts: Vec<&str> = name.split('_').collect();
            let is_lookup =
                |at: usize| parts[at].starts_with("look") && parts.get(at + 1) == Some(&"up");
            let unwanted = |at: &usize| FUNCTIONS.contains(&parts[*at]) && !is_lookup(*at);
            (0..parts.len())
                .filter(unwanted)
                .map(|at| parts[at])
                .collect()
        }
        _ => CONSTANTS
            .iter()
            .copied()
            .filter(|constant| *constant == name)
            .collect(),
    }
}

/// The unwanted words of a line of prose.
fn words_of_prose(line: &str) -> Vec<&str> {
    let words: Vec<&str> = line.split(|letter| !is_in_a_name(letter)).collect();
    let is_end = |pair: &[&str]| ENDS.contains(&[pair[0].to_lowercase().as_str(), pair[1]]);
    let ends = words
        .windows(2)
        .filter(|pair| is_end(pair))
        .map(|pair| pair[1]);
    let others = words.iter().copied();
    let others = others.filter(|word| PROSE.contains(&word.to_lowercase().as_str()));
    ends.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(file: &str, text: &str) -> Vec<usize> {
        let problems = problems(Path::new(file), text);
        problems.into_iter().map(|(number, _)| number).collect()
    }

    #[test]
    fn names_and_comments_are_checked() {
        let text = "/// This end is told.\npub fn of(x: u8) {}\nfn it_says_so() {}\nconst REST: u8 = 1;\n\
                    fn file_of() {}\nfn look_up() {}\nlet told = 1;\n/// At the end of it.\n";
        assert_eq!(numbers("xtask/src/a.rs", text), [1, 1, 2, 3, 4]);
        assert_eq!(numbers("elsewhere/src/a.rs", text), [0; 0]);
    }

    #[test]
    fn long_lines_of_prose_are_found_and_tables_and_code_are_not_prose() {
        let long = "ä ".repeat(51);
        let text = format!("{long}\n| {long}\n    {long}\n```\n{long}\n```\n{long}\n");
        assert_eq!(numbers("README.md", &text), [1, 7]);
        assert_eq!(
            numbers("xtask/a.rs", &format!("// {long}\n{long}\n//! | {long}\n")),
            [1]
        );
    }

    #[test]
    fn a_comment_on_something_public_says_more_than_two_words() {
        let text = "/// Its state.\npub state: u8,\n/// Its state.\nstate: u8,\n\
                    /// The state.\n/// Unknown at first.\npub old: u8,\n";
        assert_eq!(numbers("tracer/src/a.rs", text), [1]);
        assert_eq!(numbers("xtask/src/a.rs", text), [0; 0]);
    }

    #[test]
    fn paths_in_documents_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = "`xtask/src/main.rs`\n`xtask/src/gone.rs` and `xtask/src/`\n`conn/x`\n";
        let missing = missing_paths(&root, text);
        assert_eq!(missing, [(2, "there is no xtask/src/gone.rs".to_owned())]);
    }

    #[test]
    fn an_exception_is_for_one_file_and_word() {
        assert_eq!(numbers("SECURITY.md", "whoever\nperhaps\n"), [2]);
        assert_eq!(numbers("docs/json.md", "whoever\n"), [1]);
    }
}
