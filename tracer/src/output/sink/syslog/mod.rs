//! RFC 5424 messages to a syslog receiver: a sentence for people, and each fact of the JSON record as structured data.
//!
//! Syslog confirms nothing. `written` means sent: what a receiver that dies had not read yet is lost with it, unseen.

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
use self::message::Messages;

/// See the module.
pub(super) struct Syslog {
    connection: Connection,
    messages: Messages,
    surroundings: RenderContext,
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig, surroundings: RenderContext) -> Self {
        Self {
            connection: Connection::new(config.address.clone()),
            messages: Messages::new(config),
            surroundings,
        }
    }
}

impl Transport for Syslog {
    fn deliver(&mut self, records: &[Arc<Record>]) -> Delivered {
        self.surroundings.clock.refresh();
        let Self {
            connection,
            messages,
            surroundings,
        } = self;
        connection.send(records.iter().map(|record| {
            let entry = LogRecord::new(record, surroundings);
            messages.of(&entry)
        }))
    }
}
