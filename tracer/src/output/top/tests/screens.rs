//! Kept screens: `SNAPSHOTS=overwrite cargo test -p tcpclose --lib top` writes them anew.

use proptest::prelude::*;
use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;
use ratatui_core::style::{Color, Modifier};
use snapbox::assert_data_eq;
use unicode_width::UnicodeWidthStr as _;

use super::*;

fn drawn(state: &mut ScreenState, view: &View, size: (u16, u16), look: Theme) -> Buffer {
    let mut buffer = Buffer::empty(Rect::new(0, 0, size.0, size.1));
    draw(&mut buffer, state, Some(view), look, None);
    buffer
}

/// Returns the characters of a screen.
fn text(buffer: &Buffer) -> String {
    let mut text = String::new();
    for row in 0..buffer.area.height {
        let mut line = String::new();
        let mut column = 0;
        while column < buffer.area.width {
            let symbol = buffer[(column, row)].symbol();
            line.push_str(symbol);
            column += symbol.width().max(1) as u16;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn screen(keys: &[Key], size: (u16, u16), symbols: Symbols) -> String {
    let look = Theme {
        symbols,
        colours: true,
    };
    let mut state = ScreenState::new(symbols, false);
    let (mut view, mut shown) = (view(), String::new());
    shown += &text(&drawn(&mut state, &view, size, look));
    for key in keys {
        if let Effect::Open(service) = state.press(*key, Some(&view)) {
            view = view_of(&tally(), Some(&scan()), service);
        }
        shown = text(&drawn(&mut state, &view, size, look));
    }
    shown
}

fn unicode(keys: &[Key], size: (u16, u16)) -> String {
    screen(keys, size, Symbols::Unicode)
}

#[test]
fn scans_alone_begin_with_stuck_sockets_and_show_no_closes() {
    let view = untraced_view();
    let mut shown = String::new();
    for size in [(80, 24), (200, 50)] {
        let mut state = ScreenState::new(Symbols::Unicode, false).beginning_with(ListKind::Stuck);
        shown += &text(&drawn(&mut state, &view, size, Theme::default()));
        for key in ['1', '3', '5'] {
            state.press(Key::Char(key), Some(&view));
            let screen = text(&drawn(&mut state, &view, size, Theme::default()));
            shown.extend(screen.lines().take(8).map(|line| format!("{line}\n")));
        }
    }
    assert_data_eq!(shown, snapbox::file!["screens/untraced.txt"]);
    let mut nothing_found = untraced_view();
    nothing_found.verdicts.clear();
    let (sentences, is_wrong) = nothing_found.sentences(3);
    assert!(!is_wrong && sentences[0].ends_with("no right to load eBPF programs"));
}

#[test]
fn services_at_80_columns() {
    assert_data_eq!(
        unicode(&[], (80, 24)),
        snapbox::file!["screens/services-80.txt"]
    );
}

#[test]
fn services_on_a_large_screen() {
    assert_data_eq!(
        unicode(&[], (200, 50)),
        snapbox::file!["screens/services-200.txt"]
    );
}

#[test]
fn services_at_20_columns() {
    assert_data_eq!(
        unicode(&[], (20, 10)),
        snapbox::file!["screens/services-20.txt"]
    );
}

#[test]
fn services_in_a_locale_without_unicode() {
    let shown = screen(&[], (80, 24), Symbols::Ascii);
    assert!(shown.is_ascii(), "{shown}");
    assert_data_eq!(shown, snapbox::file!["screens/services-ascii.txt"]);
}

#[test]
fn each_list_and_the_story_of_its_first_row() {
    let mut all = String::new();
    for tab in ['2', '3', '4', '5'] {
        for keys in [&[Key::Char(tab)][..], &[Key::Char(tab), Key::Enter]] {
            all += &unicode(keys, (80, 24));
            all += &"-".repeat(80);
            all.push('\n');
        }
    }
    assert_data_eq!(all, snapbox::file!["screens/lists-80.txt"]);
}

#[test]
fn a_service_its_sockets_and_one_of_them() {
    let mut all = String::new();
    for keys in [
        &[Key::Down, Key::Enter][..],
        &[Key::Down, Key::Enter, Key::Enter],
        &[Key::Down, Key::Enter, Key::Down, Key::Enter],
    ] {
        all += &unicode(keys, (80, 24));
        all += &"-".repeat(80);
        all.push('\n');
    }
    assert_data_eq!(all, snapbox::file!["screens/sockets-80.txt"]);
}

#[test]
fn help_fits() {
    assert_data_eq!(
        unicode(&[Key::Char('?')], (80, 24)),
        snapbox::file!["screens/help-80.txt"]
    );
}

#[test]
fn a_block_of_text() {
    let text = block_text(&view(), 80, Symbols::Unicode);
    assert_data_eq!(text, snapbox::file!["screens/block.txt"]);
    assert!(block_text(&view(), 80, Symbols::Ascii).is_ascii());
}

#[test]
fn colours_are_the_terminals_own() {
    let styles = |colours| {
        let look = Theme {
            symbols: Symbols::Unicode,
            colours,
        };
        let mut state = ScreenState::new(Symbols::Unicode, false);
        let buffer = drawn(&mut state, &view(), (80, 24), look);
        let cells = buffer.content().iter();
        cells
            .map(|cell| (cell.fg, cell.bg, cell.modifier))
            .collect::<std::collections::HashSet<_>>()
    };
    let (coloured, plain) = (styles(true), styles(false));
    for (colour, background, _) in &coloured {
        assert!(matches!(colour, Color::Reset | Color::Red | Color::Yellow));
        assert_eq!(*background, Color::Reset);
    }
    assert!(coloured.iter().any(|(colour, ..)| *colour == Color::Red));
    assert!(plain.iter().all(|(colour, ..)| *colour == Color::Reset));
    let is_bold = |modifier: &Modifier| modifier.contains(Modifier::BOLD);
    assert!(plain.iter().any(|(.., modifier)| is_bold(modifier)));
}

#[test]
fn names_that_others_chose_stay_in_their_columns() {
    let mut tally = tally();
    for comm in ["\x1b[2Jx", "数据库服务", "e\u{301}\u{202e}b"] {
        let close = Close {
            owner: owner(1, comm.as_bytes(), 0),
            ..refused()
        };
        tally.add(closed(at(9_999), close));
    }
    let view = view_of(&tally, Some(&scan()), None);
    let look = Theme::default();
    let mut state = ScreenState::new(Symbols::Unicode, false);
    let shown = text(&drawn(&mut state, &view, (80, 24), look));
    for name in ["\\x1b[2Jx", "数据库", "e\\u{301}"] {
        assert!(shown.contains(name), "{name}: {shown}");
    }
    let ends: Vec<Option<usize>> = shown
        .lines()
        .filter(|line| line.contains("refused :5432"))
        .map(|line| line.find("refused").map(|at| line[..at].width()))
        .collect();
    assert!(
        ends.len() >= 4 && ends.windows(2).all(|pair| pair[0] == pair[1]),
        "{shown}"
    );
}

fn any_key() -> impl Strategy<Value = Key> {
    prop_oneof![
        prop::sample::select("q?p z12345/srxjkgG<>+-hl".chars().collect::<Vec<_>>())
            .prop_map(Key::Char),
        Just(Key::Enter),
        Just(Key::Escape),
        Just(Key::Backspace),
        Just(Key::Tab),
        Just(Key::BackTab),
        Just(Key::Up),
        Just(Key::Down),
        Just(Key::PageDown),
        Just(Key::End),
        Just(Key::Control('u')),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_key_at_any_size_goes_wrong(
        keys in prop::collection::vec(any_key(), 0..20),
        size in (1..130_u16, 1..40_u16),
    ) {
        let shown = unicode(&keys, size);
        prop_assert!(shown.lines().all(|line| line.width() <= size.0.into()));
    }
}
