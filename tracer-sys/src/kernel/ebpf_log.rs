//! Prints the log messages of the eBPF programs themselves (`--verbose`).

use std::fmt;

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Prints one message, without a newline.
pub type Print = fn(fmt::Arguments<'_>);

/// Messages of the eBPF programs on their way to the user.
pub struct EbpfLog(EbpfLogger<LogPrinter>);

struct LogPrinter(Print);

impl Log for LogPrinter {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        (self.0)(*record.args());
    }

    fn flush(&self) {}
}

impl EbpfLog {
    /// Starts reading, once the programs are loaded: takes the map that they log to.
    pub(super) fn start(ebpf: &mut Ebpf, print: Print) -> Result<Self, aya_log::Error> {
        Ok(Self(EbpfLogger::init_with_logger(ebpf, LogPrinter(print))?))
    }

    /// Prints the messages since the last call.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}
