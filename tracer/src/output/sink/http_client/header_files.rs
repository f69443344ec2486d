//! Headers whose values are in files: tokens that the configuration does not show.

use std::io::{self, Read as _};
use std::path::Path;

use hyper::header::{HeaderMap, HeaderValue};
use rustix::fs::OFlags;

use crate::output::sink::config::RequestHeaders;
use crate::output::sink::destination_error::DestinationError;
use crate::safe_path;

/// The largest value of a header in bytes. Tokens have a few thousand at most.
const MAX_VALUE_LEN: u64 = 16 * 1024;

/// Returns the headers of the configuration, those whose values are in files among them.
///
/// # Errors
/// A file cannot be read, or has no valid value.
pub(in crate::output::sink) fn read_headers(
    config: &RequestHeaders,
) -> Result<HeaderMap, DestinationError> {
    let mut headers = config.values.map().clone();
    for (name, file) in config.files.iter() {
        let mut value = read_value(file).map_err(|error| DestinationError::HeaderFile {
            file: file.to_owned(),
            error,
        })?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    Ok(headers)
}

/// Reads a value. The newline at a file's end, which editors make, does not belong to it.
fn read_value(file: &Path) -> io::Result<HeaderValue> {
    let invalid = |problem| io::Error::new(io::ErrorKind::InvalidData, problem);
    let file = safe_path::open_to_read(file, OFlags::NONBLOCK | OFlags::NOCTTY)?;
    if !file.metadata()?.is_file() {
        return Err(invalid("it is not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_VALUE_LEN + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_VALUE_LEN {
        return Err(invalid("it is too long for the value of a header"));
    }
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(invalid("it is empty"));
    }
    HeaderValue::from_bytes(text).map_err(|_| invalid("it is not one line of text"))
}
