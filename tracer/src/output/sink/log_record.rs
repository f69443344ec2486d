//! A record for receivers that take fields: a message for people, and each value of the JSON record
//! as a field with a name of its own.

use jiff::Timestamp;
use serde_json::Value;

use crate::escape::push_for_terminal;
use crate::record::Record;

use super::kind::{RecordKind, Severity};
use super::message::one_line;
use super::render::RenderContext;

/// A record as a message with fields.
pub(super) struct LogRecord {
    pub(super) kind: RecordKind,
    pub(super) severity: Severity,
    /// When the record became known.
    pub(super) at: Timestamp,
    pub(super) message: String,
    /// The values of the JSON record by their paths, such as `conn.local.addr` (docs/json.md).
    /// Nulls are left out. Names that users chose are escaped as in the tables.
    pub(super) fields: Vec<(String, Value)>,
}

impl LogRecord {
    pub(super) fn new(record: &Record, context: &mut RenderContext) -> Self {
        let mut fields = Vec::new();
        flatten(String::new(), context.value(record), &mut fields);
        Self {
            kind: RecordKind::from_record(record),
            severity: Severity::from_record(record),
            at: context.clock.timestamp(record.at()),
            message: one_line(record),
            fields,
        }
    }
}

/// Turns the members of objects into fields with paths; a list stays one field.
fn flatten(path: String, value: Value, fields: &mut Vec<(String, Value)>) {
    match value {
        Value::Null => {}
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() {
                    name
                } else {
                    format!("{path}.{name}")
                };
                flatten(path, member, fields);
            }
        }
        value => fields.push((path, escaped(value))),
    }
}

fn escaped(value: Value) -> Value {
    match value {
        Value::String(text) if !text.is_empty() => {
            let mut safe = String::with_capacity(text.len());
            push_for_terminal(&mut safe, text.as_bytes());
            Value::String(safe)
        }
        Value::Array(items) => items.into_iter().map(escaped).collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            members
                .map(|(name, value)| (name, escaped(value)))
                .collect()
        }
        value => value,
    }
}

/// Returns a field's value as text, for receivers that take only text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
