//! Why an output ends.

use std::io;

/// The reason why no more can be written.
#[derive(Debug)]
pub enum WriterEnd {
    /// The reader of the pipe has gone (`| head`): for a filter that is success.
    PipeClosed,
    /// As many lines are written as were asked for ([`Options::limit`](super::Options::limit)).
    LimitReached,
    /// The output failed: disk full, for example.
    Failed(io::Error),
}

impl From<io::Error> for WriterEnd {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::Failed(error),
        }
    }
}
