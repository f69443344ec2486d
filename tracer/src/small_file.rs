//! Reads small files that a user has named, and which may be anything, in bounded time and memory.

use std::io::{self, Read as _};
use std::path::Path;

use rustix::fs::OFlags;
use thiserror::Error;

use crate::safe_path;

/// Why a file is not read. The message does not name the file.
#[derive(Debug, Error)]
pub(crate) enum SmallFileError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a regular file")]
    NotRegular,
    #[error("it is too long")]
    TooLong,
}

/// Returns the content of a file of at most `max_len` bytes. Waits neither for the writer of a pipe
/// nor for a terminal.
pub(crate) fn read_small_file(path: &Path, max_len: u64) -> Result<Vec<u8>, SmallFileError> {
    let opened = match safe_path::open_to_read(path, OFlags::NONBLOCK | OFlags::NOCTTY) {
        // A regular file that another program has leased, such as a file server: it is free soon.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            safe_path::open_to_read(path, OFlags::NOCTTY)
        }
        opened => opened,
    };
    let file = opened?;
    if !file.metadata()?.is_file() {
        return Err(SmallFileError::NotRegular);
    }
    let mut content = Vec::new();
    file.take(max_len + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_len {
        return Err(SmallFileError::TooLong);
    }
    Ok(content)
}
