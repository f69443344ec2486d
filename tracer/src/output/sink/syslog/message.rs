//! An entry as a message.

use std::fs;
use std::process;

use syslog_fmt::Severity;
use syslog_fmt::v5424::{Config, Formatter, Msg, Timestamp};

use crate::output::sink::config::{Facility, SyslogConfig};
use crate::output::sink::kind;
use crate::output::sink::log_record::{LogRecord, text};

/// Characters that the name of a parameter may have (RFC 5424, section 6.3.3).
const LONGEST_NAME: usize = 32;

/// Makes messages.
pub(super) struct Messages {
    formatter: Formatter,
    sd_id: String,
    max_size: usize,
}

impl Messages {
    pub(super) fn new(config: &SyslogConfig) -> Self {
        let host = host_name();
        let formatter = Config {
            facility: facility(config.facility),
            hostname: host.as_deref(),
            app_name: Some("tcpclose"),
            proc_id: Some(&process::id().to_string()),
        };
        Self {
            formatter: formatter.into_formatter(),
            sd_id: config.sd_id.as_str().to_owned(),
            max_size: config.max_size.bytes(),
        }
    }

    /// The whole message, without a frame. Where it would be too long the longest fields are left out, and a field
    /// `omitted` says how many.
    pub(super) fn of(&self, entry: &LogRecord) -> Vec<u8> {
        let fields = entry.fields.iter();
        let mut fields: Vec<(&str, String)> = fields
            .map(|(path, value)| (param_name(path), text(value)))
            .collect();
        let mut omitted = Vec::new();
        loop {
            let mut message = self.format(entry, &omitted, &fields);
            if message.len() <= self.max_size {
                return message.into();
            }
            let lengths = fields.iter().enumerate();
            let Some((longest, _)) = lengths.max_by_key(|(_, (_, value))| value.len()) else {
                // A long host name leaves little room for the sentence.
                message.truncate(message.floor_char_boundary(self.max_size));
                return message.into();
            };
            fields.remove(longest);
            let count = entry.fields.len() - fields.len();
            omitted = vec![("omitted", count.to_string())];
        }
    }

    fn format(
        &self,
        entry: &LogRecord,
        omitted: &[(&str, String)],
        fields: &[(&str, String)],
    ) -> String {
        let severity = match entry.severity {
            kind::Severity::Warning => Severity::Warning,
            kind::Severity::Notice => Severity::Notice,
            kind::Severity::Info => Severity::Info,
            kind::Severity::Debug => Severity::Debug,
        };
        let msg = if entry.message.is_ascii() {
            Msg::NonUnicodeBytes(entry.message.as_bytes())
        } else {
            // With the byte order mark that the RFC wants, and many receivers keep as it is.
            Msg::Utf8Str(&entry.message)
        };
        let mut message = Vec::new();
        let written = self.formatter.write_header(
            &mut message,
            severity,
            Timestamp::PreformattedString(format!("{:.6}", entry.at)),
            Some(entry.kind.into()),
        );
        let params = omitted.iter().chain(fields);
        let params = params.map(|(name, value)| (*name, value.as_str()));
        written
            .and_then(|()| syslog_fmt::v5424::write_data(&mut message, [(&*self.sd_id, params)]))
            .and_then(|()| syslog_fmt::v5424::write_msg(&mut message, msg))
            .expect("memory takes what is written");
        String::from_utf8(message).expect("all of it was text")
    }
}

/// The path, without its first parts where it would be too long.
pub(super) fn param_name(mut path: &str) -> &str {
    while path.len() > LONGEST_NAME {
        let (_, rest) = path.split_once('.').unwrap_or_else(|| path.split_at(1));
        path = rest;
    }
    path
}

/// The name of this host, in the characters that the header takes.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name: String = name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    (!name.is_empty()).then_some(name)
}

const fn facility(facility: Facility) -> syslog_fmt::Facility {
    use syslog_fmt::Facility as Of;
    match facility {
        Facility::User => Of::User,
        Facility::Daemon => Of::Daemon,
        Facility::Local0 => Of::Local0,
        Facility::Local1 => Of::Local1,
        Facility::Local2 => Of::Local2,
        Facility::Local3 => Of::Local3,
        Facility::Local4 => Of::Local4,
        Facility::Local5 => Of::Local5,
        Facility::Local6 => Of::Local6,
        Facility::Local7 => Of::Local7,
    }
}
