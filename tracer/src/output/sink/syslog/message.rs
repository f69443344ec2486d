//! An entry as a message.

use std::borrow::Cow;
use std::fs;
use std::process;

use syslog_fmt::Severity;
use syslog_fmt::v5424::{Config, Formatter, Msg, Timestamp};

use crate::output::sink::config::SyslogConfig;
use crate::output::sink::entry::{Entry, text};
use crate::output::sink::kind;

use super::keys::Facility;

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
    pub(super) fn of(&self, entry: &Entry) -> Vec<u8> {
        let fields = entry.fields.iter();
        let mut fields: Vec<(&str, Cow<'_, str>)> = fields
            .map(|(path, value)| (param_name(path), Cow::Owned(text(value))))
            .collect();
        let mut message = self.format(entry, &fields);
        let mut omitted = 0;
        while message.len() > self.max_size && fields.len() > usize::from(omitted > 0) {
            let known = if omitted > 0 { &fields[1..] } else { &fields[..] };
            let offset = fields.len() - known.len();
            let longest = (0..known.len()).max_by_key(|at| known[*at].1.len()).unwrap_or(0);
            fields.remove(offset + longest);
            omitted += 1;
            let said = ("omitted", Cow::Owned(omitted.to_string()));
            match fields.first_mut() {
                Some(first) if omitted > 1 => *first = said,
                _ => fields.insert(0, said),
            }
            message = self.format(entry, &fields);
        }
        message
    }

    fn format(&self, entry: &Entry, fields: &[(&str, Cow<'_, str>)]) -> Vec<u8> {
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
            Some(entry.kind.name()),
        );
        let params = fields.iter().map(|(name, value)| (*name, &**value));
        written
            .and_then(|()| syslog_fmt::v5424::write_data(&mut message, [(&*self.sd_id, params)]))
            .and_then(|()| syslog_fmt::v5424::write_msg(&mut message, msg))
            .expect("memory takes what is written");
        message
    }
}

/// The path, without what is too long: its end tells more than its beginning.
fn param_name(path: &str) -> &str {
    &path[path.len().saturating_sub(LONGEST_NAME)..]
}

/// The name of this host, in the characters that the header takes.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name: String = name.chars().filter(char::is_ascii_graphic).take(255).collect();
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
