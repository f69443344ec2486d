//! Formatting a record as an RFC 5424 message.

use std::process;

use syslog_fmt::Severity;
use syslog_fmt::v5424::{Config, Formatter, Msg, Timestamp};

use crate::output::sink::config::{Facility, SyslogConfig};
use crate::output::sink::host_name::host_name;
use crate::output::sink::kind;
use crate::output::sink::log_record::{LogRecord, text};

/// The longest name of a parameter, in characters (RFC 5424, section 6.3.3).
const MAX_PARAM_NAME_LEN: usize = 32;

/// Formats records as syslog messages (RFC 5424).
pub(super) struct SyslogFormatter {
    formatter: Formatter,
    sd_id: String,
    max_size: usize,
}

impl SyslogFormatter {
    pub(super) fn new(config: &SyslogConfig) -> Self {
        let host = header_host_name();
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

    /// Returns the message without a frame. If it would be too long, the longest fields are left
    /// out, and a field `omitted` contains their number.
    pub(super) fn format(&self, log_record: &LogRecord) -> Vec<u8> {
        let fields = log_record.fields.iter();
        let mut fields: Vec<(&str, String)> = fields
            .map(|(path, value)| (param_name(path), text(value)))
            .collect();
        let mut omitted = Vec::new();
        loop {
            let mut message = self.format_fields(log_record, &omitted, &fields);
            if message.len() <= self.max_size {
                return message.into();
            }
            let lengths = fields.iter().enumerate();
            let Some((longest, _)) = lengths.max_by_key(|(_, (_, value))| value.len()) else {
                // A long host name leaves little room for the text.
                message.truncate(message.floor_char_boundary(self.max_size));
                return message.into();
            };
            fields.remove(longest);
            let count = log_record.fields.len() - fields.len();
            omitted = vec![("omitted", count.to_string())];
        }
    }

    fn format_fields(
        &self,
        log_record: &LogRecord,
        omitted: &[(&str, String)],
        fields: &[(&str, String)],
    ) -> String {
        let severity = match log_record.severity {
            kind::Severity::Warning => Severity::Warning,
            kind::Severity::Notice => Severity::Notice,
            kind::Severity::Info => Severity::Info,
            kind::Severity::Debug => Severity::Debug,
        };
        let msg = if log_record.message.is_ascii() {
            Msg::NonUnicodeBytes(log_record.message.as_bytes())
        } else {
            // With a byte order mark, which the RFC requires and many receivers leave in the text.
            Msg::Utf8Str(&log_record.message)
        };
        let mut message = Vec::new();
        let written = self.formatter.write_header(
            &mut message,
            severity,
            Timestamp::PreformattedString(format!("{:.6}", log_record.at)),
            Some(log_record.kind.into()),
        );
        let params = omitted.iter().chain(fields);
        let params = params.map(|(name, value)| (*name, value.as_str()));
        written
            .and_then(|()| syslog_fmt::v5424::write_data(&mut message, [(&*self.sd_id, params)]))
            .and_then(|()| syslog_fmt::v5424::write_msg(&mut message, msg))
            .expect("writing to memory cannot fail");
        String::from_utf8(message).expect("all of it was text")
    }
}

/// Returns the path, without its first parts if it is too long.
pub(super) fn param_name(mut path: &str) -> &str {
    while path.len() > MAX_PARAM_NAME_LEN {
        let (_, rest) = path.split_once('.').unwrap_or_else(|| path.split_at(1));
        path = rest;
    }
    path
}

/// Returns the name of this host, limited to the characters that the header allows.
fn header_host_name() -> Option<String> {
    let name: String = host_name()?
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    (!name.is_empty()).then_some(name)
}

const fn facility(facility: Facility) -> syslog_fmt::Facility {
    use syslog_fmt::Facility as Formatted;
    match facility {
        Facility::User => Formatted::User,
        Facility::Daemon => Formatted::Daemon,
        Facility::Local0 => Formatted::Local0,
        Facility::Local1 => Formatted::Local1,
        Facility::Local2 => Formatted::Local2,
        Facility::Local3 => Formatted::Local3,
        Facility::Local4 => Formatted::Local4,
        Facility::Local5 => Formatted::Local5,
        Facility::Local6 => Formatted::Local6,
        Facility::Local7 => Formatted::Local7,
    }
}
