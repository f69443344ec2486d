//! RFC 5424 messages to a syslog receiver.

mod address;

pub use self::address::{Facility, SyslogAddress};
