//! Tables on a real terminal: that of tmux, which a recording is replayed to.

use std::path::Path;

use tcpclose_kit::tmux::Terminal;
use tcpclose_kit::wait::eventually;

/// What is shown when the program has ended.
const END: &str = "the end";

/// Returns what is on a terminal of this size, with all that has scrolled away, after `watch` has
/// replayed a recording; `None` where there is no tmux.
fn shown(columns: u16, rows: u16, environment: &str, args: &str) -> Option<Vec<String>> {
    let program = env!("CARGO_BIN_EXE_tcpclose");
    let recording = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden/live-closes.rec");
    let command = format!(
        "env TZ=UTC {environment} {program} watch {args} --replay {}; echo {END}; sleep 600",
        recording.display()
    );
    let terminal = Terminal::start(columns, rows, &command)?;
    let text = eventually(|| {
        let text = terminal.everything();
        text.contains(END).then_some(text)
    });
    let text = text.expect("the program ends");
    Some(text.lines().map(str::to_owned).collect())
}

/// Returns the numbers of the lines with the titles.
fn titles(lines: &[String]) -> Vec<usize> {
    let titles = lines.iter().enumerate();
    let titles = titles.filter(|(_, line)| line.contains("TIME ") && line.contains("HOW"));
    titles.map(|(number, _)| number).collect()
}

#[test]
fn a_table_holds_on_a_terminal() {
    for (columns, rows) in [(80, 24), (100, 30), (160, 50)] {
        let Some(lines) = shown(columns, rows, "LC_ALL=C.UTF-8 NO_COLOR=1", "") else {
            return;
        };
        let titles = titles(&lines);
        assert!(titles.len() > 1, "the titles come again: {lines:#?}");
        for pair in titles.windows(2) {
            let between = pair[1] - pair[0];
            assert!(between <= usize::from(rows) + 4, "{between}: {lines:#?}");
        }
        // A close that is one line here is not wrapped by the terminal.
        let how = |line: &&String| line.contains(" closed by us");
        let start = lines
            .iter()
            .find(how)
            .and_then(|line| line.find("closed by us"));
        for line in lines.iter().filter(how) {
            assert_eq!(line.find("closed by us"), start, "{columns}: {lines:#?}");
        }
        let summary = lines
            .iter()
            .find(|line| line.starts_with("in 1m21s: 64 closes"));
        assert!(summary.is_some(), "{lines:#?}");
    }
}

#[test]
fn a_narrow_terminal_has_two_lines_for_a_close() {
    let Some(lines) = shown(40, 20, "LC_ALL=C.UTF-8", "-4") else {
        return;
    };
    assert!(titles(&lines).is_empty(), "{lines:#?}");
    let first = lines.iter().position(|line| line.starts_with("15:33:06 →"));
    let second = first.and_then(|first| lines.get(first + 1));
    assert_eq!(
        second.map(String::as_str),
        Some("         web 31468: closed by us")
    );
}

#[test]
fn a_dumb_terminal_has_no_colours_and_a_plain_locale_ascii() {
    let Some(lines) = shown(80, 24, "LC_ALL=C TERM=dumb", "") else {
        return;
    };
    let text = lines.join("\n");
    assert!(text.is_ascii() && !text.contains('\x1b'), "{text}");
    assert!(
        text.contains(" -> 192.0.2.10:8080") && text.contains(" <- "),
        "{text}"
    );
    let Some(coloured) = shown(80, 24, "LC_ALL=C", "") else {
        return;
    };
    assert!(coloured.join("\n").contains("\x1b[31m"), "{coloured:#?}");
}
