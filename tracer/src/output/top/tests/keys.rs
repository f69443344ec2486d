//! What keys do.

use ratatui_core::buffer::Buffer;
use ratatui_core::layout::Rect;

use super::*;

fn new_state() -> ScreenState {
    ScreenState::new(Symbols::Unicode, false)
}

/// Draws, which fits the cursor to the list, and returns the name of the service it is on.
fn chosen(state: &mut ScreenState, view: &View) -> String {
    let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 12));
    draw(&mut buffer, state, Some(view), Theme::default(), None);
    match state.clone().press(Key::Enter, Some(view)) {
        Effect::Open(Some(service)) => service.name().to_owned(),
        other => format!("{other:?}"),
    }
}

fn type_text(state: &mut ScreenState, text: &str) {
    for character in text.chars() {
        assert_eq!(state.press(Key::Char(character), None), Effect::Draw);
    }
}

#[test]
fn the_worst_service_comes_first_and_is_opened() {
    let (mut state, view) = (new_state(), view());
    assert_eq!(chosen(&mut state, &view), "nopool.service");
    state.press(Key::Down, Some(&view));
    assert_eq!(chosen(&mut state, &view), "billing.service");
    let opened = state.press(Key::Enter, Some(&view));
    assert_eq!(opened, Effect::Open(Some(billing())));
    assert_eq!(state.press(Key::Escape, Some(&view)), Effect::Open(None));
    assert_eq!(chosen(&mut state, &view), "billing.service");
}

#[test]
fn the_cursor_follows_its_row_and_at_the_top_stays_there() {
    let (mut state, view) = (new_state(), view());
    for expected in ["closes", "resets", "stuck", "files", "ports", "name"] {
        state.press(Key::Char('s'), Some(&view));
        assert_eq!(state.sort.name(), expected);
    }
    assert_eq!(chosen(&mut state, &view), "(process not known)");
    state.press(Key::Down, Some(&view));
    assert_eq!(chosen(&mut state, &view), "billing.service");
    // In the other order it is elsewhere.
    state.press(Key::Char('r'), Some(&view));
    assert_eq!(chosen(&mut state, &view), "billing.service");
    state.press(Key::Home, Some(&view));
    assert_eq!(chosen(&mut state, &view), "web.service");
    state.press(Key::Char('r'), Some(&view));
    assert_eq!(chosen(&mut state, &view), "(process not known)");
}

#[test]
fn a_filter_is_typed_taken_back_and_removed() {
    let (mut state, view) = (new_state(), view());
    state.press(Key::Char('/'), Some(&view));
    // Keys that mean something else do not here.
    type_text(&mut state, "BillQ");
    state.press(Key::Backspace, Some(&view));
    assert_eq!(
        chosen(&mut state.clone(), &view),
        "Draw",
        "it is still typed"
    );
    state.press(Key::Enter, Some(&view));
    assert_eq!(chosen(&mut state, &view), "billing.service");
    state.press(Key::Char('/'), Some(&view));
    type_text(&mut state, "nothing like this");
    state.press(Key::Escape, Some(&view));
    assert_eq!(state.filter, "Bill");
    state.press(Key::Escape, Some(&view));
    assert_eq!(chosen(&mut state, &view), "nopool.service");
}

#[test]
fn keys_for_others_become_effects() {
    let (mut state, view) = (new_state(), view());
    let view = Some(&view);
    assert_eq!(state.press(Key::Char('p'), view), Effect::Pause(true));
    assert!(state.stands_still());
    assert_eq!(state.press(Key::Char(' '), view), Effect::Pause(false));
    assert_eq!(state.press(Key::Char('z'), view), Effect::Restart);
    assert_eq!(state.press(Key::Control('z'), view), Effect::Suspend);
    assert_eq!(state.press(Key::Control('l'), view), Effect::DrawAll);
    assert_eq!(state.press(Key::Control('c'), view), Effect::Quit);
    assert_eq!(state.press(Key::Char('q'), view), Effect::Quit);
    // There is nothing to seek in on a living host.
    assert_eq!(state.press(Key::Left, view), Effect::Draw);
    let mut replay = ScreenState::new(Symbols::Unicode, true);
    assert_eq!(replay.press(Key::Char('p'), view), Effect::Pause(true));
    assert!(!replay.stands_still(), "seeking moves it");
    assert_eq!(replay.press(Key::Left, view), Effect::Seek(-10));
    assert_eq!(replay.press(Key::Char('>'), view), Effect::Seek(60));
    assert_eq!(replay.press(Key::Char('+'), view), Effect::Speed(1));
}

#[test]
fn without_a_view_nothing_opens() {
    let mut state = new_state();
    assert_eq!(state.press(Key::Enter, None), Effect::Draw);
    assert_eq!(state.press(Key::Char('q'), None), Effect::Quit);
}
