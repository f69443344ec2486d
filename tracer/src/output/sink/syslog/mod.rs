//! RFC 5424 messages to a syslog receiver: one line for people, and each value of the JSON record
//! as structured data.
//!
//! Syslog has no confirmation. `written` means sent: if the receiver dies, the messages that it has
//! not read yet are lost unnoticed.

mod connection;
mod message;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::record::Record;

use super::config::SyslogConfig;
use super::log_record::LogRecord;
use super::render::RenderContext;
use super::transport::{Delivered, Transport};

use self::connection::Connection;
use self::message::SyslogFormatter;

/// A transport to a syslog receiver.
pub(super) struct Syslog {
    connection: Connection,
    formatter: SyslogFormatter,
    context: RenderContext,
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig, context: RenderContext) -> Self {
        Self {
            connection: Connection::new(config.address.clone()),
            formatter: SyslogFormatter::new(config),
            context,
        }
    }
}

impl Transport for Syslog {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        self.context.clock.refresh();
        let Self {
            connection,
            formatter,
            context,
        } = self;
        connection.send(records.iter().map(|record| {
            let log_record = LogRecord::new(record, context);
            formatter.format(&log_record)
        }))
    }
}
