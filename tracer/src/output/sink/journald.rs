//! Entries of systemd's journal, in its native protocol: `MESSAGE` is a sentence, and each fact of the JSON record has a
//! field, `TCPCLOSE_CONN_LOCAL_ADDR`.

use std::sync::Arc;

use libsystemd::logging::{Priority, journal_send};

use crate::record::Record;

use super::kind::Severity;
use super::log_record::{LogRecord, text};
use super::render::RenderContext;
use super::transport::{Delivered, Transport};

/// See the module.
pub(super) struct Journald {
    surroundings: RenderContext,
}

impl Journald {
    pub(super) fn new(surroundings: RenderContext) -> Self {
        Self { surroundings }
    }

    fn send(&mut self, record: &Record) -> Result<(), String> {
        let entry = LogRecord::new(record, &mut self.surroundings);
        let priority = match entry.severity {
            Severity::Warning => Priority::Warning,
            Severity::Notice => Priority::Notice,
            Severity::Info => Priority::Info,
            Severity::Debug => Priority::Debug,
        };
        let fields = entry
            .fields
            .iter()
            .map(|(path, value)| (field_name(path), text(value)));
        let identifier = ("SYSLOG_IDENTIFIER".to_owned(), "tcpclose".to_owned());
        journal_send(priority, &entry.message, fields.chain([identifier]))
            .map_err(|error| error.to_string())
    }
}

impl Transport for Journald {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        self.surroundings.clock.refresh();
        let mut progress = Delivered::default();
        for record in records {
            match self.send(record) {
                Ok(()) => progress.written += 1,
                Err(reason) => {
                    progress.down = Some(reason.into());
                    break;
                }
            }
        }
        progress
    }
}

/// `conn.local.addr` is `TCPCLOSE_CONN_LOCAL_ADDR`. Journald takes capitals, digits and underscores.
fn field_name(path: &str) -> String {
    let mut name = "TCPCLOSE_".to_owned();
    name.extend(path.chars().map(|character| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' => character.to_ascii_uppercase(),
        _ => '_',
    }));
    name
}
