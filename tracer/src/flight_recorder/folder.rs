//! The folder of the segments, and their names.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::safe_path;

/// Where the segments are, if nothing else is configured.
pub(crate) const DEFAULT_FOLDER: &str = "/var/lib/tcpclose/flight";

/// The name of the file whose lock an agent holds.
pub(crate) const LOCK_NAME: &str = "lock";

/// The most segments in a folder; each start of the agent begins one.
pub(super) const MAX_SEGMENTS: usize = 256;

const PREFIX: &str = "segment-";
const SUFFIX: &str = ".rec";

/// Returns the name of a segment.
pub(super) fn segment_name(number: u64) -> String {
    format!("{PREFIX}{number:010}{SUFFIX}")
}

/// Returns the path of a segment.
pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(segment_name(number))
}

/// No agent comes this far: a file with a larger number is no segment.
const MAX_NUMBER: u64 = 1 << 48;

/// Returns the numbers of the segments in a folder, in order.
pub(super) fn segments(folder: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        let number = number.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number = number.and_then(|digits| digits.parse::<u64>().ok());
        numbers.extend(number.filter(|number| *number < MAX_NUMBER));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Opens a segment to read it.
pub(super) fn open_segment(folder: &Path, number: u64) -> io::Result<File> {
    let path = segment_path(folder, number);
    // Without O_NONBLOCK, opening a pipe would wait for its writer.
    let file = safe_path::open_to_read(&path, OFlags::NONBLOCK | OFlags::NOFOLLOW)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a regular file")),
    }
}
