//! The man pages and completions, read by the programs that will read them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcpclose_kit::process::{CommandOutput, output_of, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::find_program;

const COMMANDS: &[&str] = &[
    "triage", "watch", "record", "dump", "leaks", "ports", "resets", "explain", "compare",
    "report", "top", "agent", "doctor",
];

/// A folder with everything that the program writes.
fn manual() -> Scratch {
    let scratch = Scratch::new();
    let mut program = Command::new(env!("CARGO_BIN_EXE_tcpclose-manual"));
    output_of(program.arg(scratch.folder()).arg("2026-11-30"));
    scratch
}

fn pages(manual: &Scratch) -> Vec<PathBuf> {
    let entries = fs::read_dir(manual.path("man1")).expect("it has been written");
    let mut pages: Vec<_> = entries.map(|entry| entry.expect("a page").path()).collect();
    pages.sort();
    pages
}

/// Runs a command on each page; none of them may be complained of.
fn nothing_to_complain_of(manual: &Scratch, command: impl Fn(&Path) -> Command) {
    for page in pages(manual) {
        let ended = run(&mut command(&page));
        let words = (ended.code, ended.stderr.as_str());
        assert_eq!(words, (Some(0), ""), "{}: {}", page.display(), ended.stdout);
    }
}

#[test]
fn the_program_and_each_command_have_a_page() {
    let manual = manual();
    let pages = pages(&manual);
    let names: Vec<_> = pages
        .iter()
        .map(|page| page.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names.len(), 1 + COMMANDS.len(), "{names:?}");
    assert!(names.contains(&"tcpclose.1"));
    for command in COMMANDS {
        let name = format!("tcpclose-{command}.1");
        assert!(names.contains(&name.as_str()), "{names:?}");
    }
}

#[test]
fn man_renders_each_page_without_a_warning() {
    let Some(man) = find_program("man") else {
        return;
    };
    nothing_to_complain_of(&manual(), |page| {
        let mut man = Command::new(&man);
        man.args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(page)
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8");
        man
    });
}

#[test]
fn mandoc_finds_no_fault() {
    let Some(mandoc) = find_program("mandoc") else {
        return;
    };
    let manual = manual();
    for page in pages(&manual) {
        let mut lint = Command::new(&mandoc);
        let CommandOutput { code, stdout, .. } = run(lint.args(["-Tlint", "-Wwarning"]).arg(&page));
        assert_eq!((code, stdout.as_str()), (Some(0), ""));
    }
}

/// What stands behind the options in the help has sections of its own, and the examples keep their
/// lines.
#[test]
fn a_page_has_the_exit_status_and_examples_of_its_command() {
    let Some(man) = find_program("man") else {
        return;
    };
    let manual = manual();
    let mut man = Command::new(man);
    man.arg("-l")
        .arg(manual.path("man1/tcpclose-watch.1"))
        .env("MANWIDTH", "100")
        .env("LC_ALL", "C.UTF-8");
    let text = output_of(&mut man);
    for words in ["\nEXIT STATUS\n", "\nEXAMPLES\n", "2026-11-30"] {
        assert!(text.contains(words), "{text}");
    }
    let example = text
        .lines()
        .find(|line| line.contains("tcpclose watch --format json"));
    assert!(
        example.is_some_and(|line| line.ends_with("one JSON object per line")),
        "{text}"
    );
}

#[test]
fn bash_completes() {
    let Some(bash) = find_program("bash") else {
        return;
    };
    let manual = manual();
    let script = "source \"$1\"; complete -p tcpclose
        COMP_WORDS=(tcpclose wa); COMP_CWORD=1; _tcpclose tcpclose wa tcpclose; echo ${COMPREPLY[@]}
        COMP_WORDS=(tcpclose watch --form); COMP_CWORD=2; _tcpclose tcpclose --form watch
        echo ${COMPREPLY[@]}";
    let mut shell = Command::new(bash);
    shell
        .args(["--norc", "-c", script, "bash"])
        .arg(manual.path("bash/tcpclose"));
    let text = output_of(&mut shell);
    let lines: Vec<_> = text.lines().collect();
    assert!(lines[0].ends_with("-F _tcpclose tcpclose"), "{text}");
    assert_eq!(lines[1..], ["watch", "--format"]);
}

#[test]
fn fish_completes() {
    let Some(fish) = find_program("fish") else {
        return;
    };
    let manual = manual();
    let script = "source $argv[1]; complete -C 'tcpclose wa'; complete -C 'tcpclose watch --form'";
    let mut shell = Command::new(fish);
    shell
        .args(["--no-config", "-c", script])
        .arg(manual.path("fish/tcpclose.fish"))
        .env("HOME", manual.folder());
    let text = output_of(&mut shell);
    let words: Vec<_> = text
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    assert_eq!(words, ["watch", "--format"], "{text}");
}

/// zsh completes in an interactive shell only: here it has a terminal of its own.
#[test]
fn zsh_completes() {
    let Some(zsh) = find_program("zsh") else {
        return;
    };
    let manual = manual();
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell "fpath=($1 \$fpath); autoload -Uz compinit; compinit -D; PS1=; print rea''dy"
        zpty -r shell text '*ready*'
        zpty -w -n shell $'tcpclose doc\t'
        zpty -r shell text '*doctor*'
        print -r -- $text
    "#;
    let mut shell = Command::new(zsh);
    shell
        .args(["-f", "-c", script, "zsh"])
        .arg(manual.path("zsh"))
        .env("HOME", manual.folder())
        .env("TERM", "dumb");
    let text = output_of(&mut shell);
    assert!(text.contains("tcpclose doctor"), "{text}");
}
