//! Where in a file something stands.

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error_text;
use crate::output::sink::SinkConfig;

/// Line and column of the byte `at`, as editors count them: `4:1`.
pub(super) fn line_and_column(text: &str, at: usize) -> String {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (number, column) = (
        before.matches('\n').count() + 1,
        before[line..].chars().count() + 1,
    );
    format!("{number}:{column}")
}

/// Where the `number`th output begins.
pub(super) fn of_output(text: &str, number: usize) -> usize {
    let begin = |outputs: &[Spanned<DeValue<'_>>], _| Some(outputs.get(number)?.span().start);
    with_outputs(text, begin).unwrap_or(0)
}

/// Where the value of a table's key begins.
pub(super) fn of_value(text: &str, table: &str, key: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let table = file.get_ref().get(table)?.get_ref().as_table()?;
    Some(table.get(key)?.span().start)
}

/// What is wrong with an output as a whole is told at the begin of the list: better is the key that the message
/// names, or the begin of the right one.
pub(super) fn of_key(text: &str, at: usize, message: &str) -> usize {
    let place = |outputs: &[Spanned<DeValue<'_>>], begin: usize| {
        let is_wrong = |output: &&Spanned<DeValue<'_>>| {
            SinkConfig::deserialize(ValueDeserializer::from((*output).clone())).is_err()
        };
        if begin != at {
            return None;
        }
        let output = outputs.iter().find(is_wrong)?;
        let mut keys = output.get_ref().as_table()?.keys();
        let key = error_text::quoted(message)
            .next()
            .and_then(|named| keys.find(|key| key.get_ref() == named));
        Some(key.map_or(output.span(), Spanned::span).start)
    };
    with_outputs(text, place).unwrap_or(at)
}

/// `find` gets the outputs, and where the list of them begins.
fn with_outputs<T>(
    text: &str,
    find: impl FnOnce(&[Spanned<DeValue<'_>>], usize) -> Option<T>,
) -> Option<T> {
    let file = DeTable::parse(text).ok()?;
    let outputs = file.get_ref().get("output")?;
    find(outputs.get_ref().as_array()?, outputs.span().start)
}
