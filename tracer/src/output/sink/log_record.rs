//! A finding for receivers that take fields: a sentence for people, and each fact of the JSON record under its own name.

use jiff::Timestamp;
use serde_json::Value;

use crate::output::escape::push_for_terminal;
use crate::record::Record;

use super::kind::{Kind, Severity};
use super::message::sentence;
use super::render::RenderContext;

/// See the module.
pub(super) struct LogRecord {
    pub(super) kind: Kind,
    pub(super) severity: Severity,
    /// When the finding became known.
    pub(super) at: Timestamp,
    pub(super) message: String,
    /// The record's facts by their paths, `conn.local.addr`, as in docs/json.md. Those that are null are left out. What
    /// users named is escaped as in the tables.
    pub(super) fields: Vec<(String, Value)>,
}

impl LogRecord {
    pub(super) fn new(record: &Record, surroundings: &mut RenderContext) -> Self {
        let mut fields = Vec::new();
        flatten(String::new(), surroundings.value(record), &mut fields);
        Self {
            kind: Kind::of(record),
            severity: Severity::of(record),
            at: surroundings.clock.timestamp(record.at()),
            message: sentence(record),
            fields,
        }
    }
}

/// Objects become paths; lists stay one field.
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

/// A field's value where only text is taken.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}
