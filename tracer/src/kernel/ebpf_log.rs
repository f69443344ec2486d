//! What the eBPF programs themselves say, with `--verbose`.

use crate::stderr::say;
use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

/// Messages of the eBPF programs on their way to stderr.
pub struct EbpfLog(EbpfLogger<Stderr>);

struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        say!("{}", record.args());
    }

    fn flush(&self) {}
}

impl EbpfLog {
    /// Must come after the programs are loaded: it takes the map that they log to.
    pub(super) fn start(ebpf: &mut Ebpf) -> anyhow::Result<Self> {
        Ok(Self(EbpfLogger::init_with_logger(ebpf, Stderr)?))
    }

    /// Writes down what has been said since the last call.
    pub fn flush(&mut self) {
        self.0.flush();
    }
}
