//! Headers whose values are in files: tokens that the configuration does not show.

use std::io;
use std::path::Path;

use hyper::header::{HeaderMap, HeaderValue};

use crate::output::sink::config::RequestHeaders;
use crate::output::sink::destination_error::DestinationError;
use crate::small_file::{SmallFileError, read_small_file};

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
    let text = read_small_file(file, MAX_VALUE_LEN).map_err(|error| match error {
        SmallFileError::Io(error) => error,
        SmallFileError::NotRegular => invalid("it is not a regular file"),
        SmallFileError::TooLong => invalid("it is too long for the value of a header"),
    })?;
    let text = text.trim_ascii();
    if text.is_empty() {
        return Err(invalid("it is empty"));
    }
    HeaderValue::from_bytes(text).map_err(|_| invalid("it is not one line of text"))
}
