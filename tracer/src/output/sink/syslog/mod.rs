//! RFC 5424 messages to a syslog receiver: a sentence for people, and each fact of the JSON record as structured data.
//!
//! Syslog confirms nothing. `written` means sent: what a receiver that dies had not read yet is lost with it, unseen.

mod connection;
mod keys;
mod message;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tcpclose_core::finding::Finding;

use super::config::SyslogConfig;
use super::delivery::{Delivery, Progress};
use super::entry::Entry;
use super::render::Surroundings;

use self::connection::Connection;
use self::message::Messages;

pub use self::keys::{Facility, MaxSize, SdId, SyslogAddress};

/// See the module.
pub(super) struct Syslog {
    connection: Connection,
    messages: Messages,
    surroundings: Surroundings,
}

impl Syslog {
    pub(super) fn new(config: &SyslogConfig, surroundings: Surroundings) -> Self {
        Self {
            connection: Connection::new(config.address.clone()),
            messages: Messages::new(config),
            surroundings,
        }
    }
}

impl Delivery for Syslog {
    fn deliver(&mut self, records: &[Arc<Finding>]) -> Progress {
        self.surroundings.clock.refresh();
        let Self {
            connection,
            messages,
            surroundings,
        } = self;
        connection.send(records.iter().map(|record| {
            let entry = Entry::new(record, surroundings);
            messages.of(&entry)
        }))
    }
}
