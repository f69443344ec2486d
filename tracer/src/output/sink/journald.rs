//! Entries of systemd's journal, over its native protocol. `MESSAGE` is one line for people, and
//! each value of the JSON record has a field such as `TCPCLOSE_CONN_LOCAL_ADDR`.

use std::path::Path;
use std::sync::Arc;

use libsystemd::errors::SdError;
use libsystemd::logging::{Priority, journal_send};

use crate::record::Record;

use super::kind::Severity;
use super::log_record::{LogRecord, text};
use super::render::RenderContext;
use super::transport::{Delivered, Transport};

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// A transport to systemd's journal.
pub(super) struct Journald {
    context: RenderContext,
}

impl Journald {
    pub(super) fn new(context: RenderContext) -> Self {
        Self { context }
    }

    fn send(&mut self, record: &Record) -> Result<(), SdError> {
        let log_record = LogRecord::new(record, &mut self.context);
        let priority = match log_record.severity {
            Severity::Warning => Priority::Warning,
            Severity::Notice => Priority::Notice,
            Severity::Info => Priority::Info,
            Severity::Debug => Priority::Debug,
        };
        let fields = log_record
            .fields
            .iter()
            .map(|(path, value)| (field_name(path), text(value)));
        let identifier = ("SYSLOG_IDENTIFIER".to_owned(), "tcpclose".to_owned());
        journal_send(priority, &log_record.message, fields.chain([identifier]))
    }
}

/// Returns why the journal has not taken a record.
fn reason(error: &SdError) -> String {
    if Path::new(SOCKET).exists() {
        error.to_string()
    } else {
        format!(
            "no journald listens at {SOCKET}; without systemd, use an output of type syslog, file or stdout"
        )
    }
}

impl Transport for Journald {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        self.context.clock.refresh();
        let mut delivered = Delivered::default();
        for record in records {
            match self.send(record) {
                Ok(()) => delivered.written += 1,
                Err(error) => {
                    delivered.unavailable = Some(reason(&error).into());
                    break;
                }
            }
        }
        delivered
    }
}

/// Returns the name of a field: `TCPCLOSE_CONN_LOCAL_ADDR` for `conn.local.addr`. Journald accepts
/// capitals, digits and underscores.
fn field_name(path: &str) -> String {
    let mut name = "TCPCLOSE_".to_owned();
    name.extend(path.chars().map(|character| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' => character.to_ascii_uppercase(),
        _ => '_',
    }));
    name
}
