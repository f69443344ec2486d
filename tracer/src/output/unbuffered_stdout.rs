//! Standard output without std's buffer.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;

/// Returns a duplicate of standard output. std's own buffer would keep lines that count as written.
pub(crate) fn unbuffered_stdout() -> io::Result<File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}
