//! The agent's configuration.

use tcpclose::agent::config::Config;

/// Parses it; what is wrong must be said in one line that points into the text.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Err(error) = Config::parse(text, "agent.toml") else {
        return;
    };
    let message = error.to_string();
    let mut parts = message.splitn(4, ':');
    assert_eq!(parts.next(), Some("agent.toml"), "{message}");
    let number = |part: Option<&str>| {
        let part = part?;
        part.parse::<usize>().ok()
    };
    let (line, column) = (number(parts.next()), number(parts.next()));
    let (line, column) = (line.expect("a line"), column.expect("a column"));
    let pointed_at = text.split('\n').nth(line - 1).expect("a line of the text");
    assert!(
        (1..=pointed_at.chars().count() + 1).contains(&column),
        "{message:?}"
    );
    assert!(
        parts.next().is_some_and(|problem| problem.len() > 1),
        "{message:?}"
    );
}
