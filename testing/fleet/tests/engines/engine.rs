//! An engine in a process of its own, which runs queries.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Map, Value, json};
use tcpclose_kit::skip;

/// A row, by the names of its columns.
pub type Row = Map<String, Value>;

/// A running engine.
pub struct Engine {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Engine {
    /// Starts ClickHouse with a database in this folder; `None`, and the test is skipped, where it
    /// is not installed.
    #[track_caller]
    pub fn clickhouse(database: &Path) -> Option<Self> {
        let mut command = python()?;
        command.arg(database);
        Some(Self::start(command))
    }

    /// Starts DuckDB, in a folder to which the paths in its queries are relative; `None`, and the
    /// test is skipped, where it is not installed.
    #[track_caller]
    pub fn duckdb(folder: &Path) -> Option<Self> {
        let mut command = python()?;
        command.current_dir(folder);
        Some(Self::start(command))
    }

    fn start(mut command: Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let answers = process.stdout.take().expect("a pipe");
        Self {
            questions: process.stdin.take(),
            answers: BufReader::new(answers),
            process,
        }
    }

    /// Runs a statement, and returns its rows.
    #[track_caller]
    pub fn query(&mut self, sql: &str) -> Vec<Row> {
        let questions = self.questions.as_mut().expect("it runs");
        writeln!(questions, "{}", json!({ "sql": sql })).expect("the engine reads");
        let mut answer = String::new();
        self.answers
            .read_line(&mut answer)
            .expect("the engine answers");
        let answer: Value = serde_json::from_str(&answer).expect("the driver answers in JSON");
        let Value::Array(rows) = answer else {
            panic!("{}\n{sql}", answer["error"].as_str().unwrap_or_default());
        };
        let rows = rows.into_iter().map(|row| match row {
            Value::Object(row) => row,
            row => panic!("no row: {row}"),
        });
        rows.collect()
    }

    /// Runs each statement of a file.
    #[track_caller]
    pub fn run(&mut self, file: &str) {
        for statement in statements(file) {
            self.query(&statement);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.questions.take());
        let _ = self.process.wait();
    }
}

#[track_caller]
fn python() -> Option<Command> {
    let mut command = Command::new(skip::find_program("fleet-engines")?);
    let driver = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/driver.py");
    command.arg(driver);
    Some(command)
}

/// The statements of a file, without its comments.
fn statements(file: &str) -> Vec<String> {
    let lines = file
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let statements = code
        .split(";\n")
        .map(|statement| statement.trim().trim_end_matches(';'));
    let statements = statements.filter(|statement| !statement.is_empty());
    statements.map(str::to_owned).collect()
}
