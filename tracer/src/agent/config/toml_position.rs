//! Positions in a TOML file, for error messages.

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::error_text;
use crate::output::sink::SinkConfig;

/// Returns line and column of the byte `at`, as editors count them, such as `4:1`.
pub(super) fn line_and_column(text: &str, at: usize) -> String {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (number, column) = (
        before.matches('\n').count() + 1,
        before[line..].chars().count() + 1,
    );
    format!("{number}:{column}")
}

/// Returns where the output with this index begins.
pub(super) fn output_position(text: &str, index: usize) -> usize {
    let begin = |outputs: &[Spanned<DeValue<'_>>], _| Some(outputs.get(index)?.span().start);
    with_outputs(text, begin).unwrap_or(0)
}

/// Returns where the value of a table's key begins.
pub(super) fn value_position(text: &str, table: &str, key: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let table = file.get_ref().get(table)?.get_ref().as_table()?;
    Some(table.get(key)?.span().start)
}

/// Returns the position of the key to which serde's message refers. serde reports an invalid output
/// at the beginning of the list of outputs; more precise are the key that the message names, or the
/// beginning of that output.
pub(super) fn key_position(text: &str, at: usize, message: &str) -> usize {
    let find = |outputs: &[Spanned<DeValue<'_>>], begin: usize| {
        let is_invalid = |output: &&Spanned<DeValue<'_>>| {
            SinkConfig::deserialize(ValueDeserializer::from((*output).clone())).is_err()
        };
        if begin != at {
            return None;
        }
        let output = outputs.iter().find(is_invalid)?;
        let mut keys = output.get_ref().as_table()?.keys();
        let key = error_text::quoted(message)
            .next()
            .and_then(|named| keys.find(|key| key.get_ref() == named));
        Some(key.map_or(output.span(), Spanned::span).start)
    };
    with_outputs(text, find).unwrap_or(at)
}

/// Calls `find` with the outputs and the position where their list begins.
fn with_outputs<T>(
    text: &str,
    find: impl FnOnce(&[Spanned<DeValue<'_>>], usize) -> Option<T>,
) -> Option<T> {
    let file = DeTable::parse(text).ok()?;
    let outputs = file.get_ref().get("output")?;
    find(outputs.get_ref().as_array()?, outputs.span().start)
}
