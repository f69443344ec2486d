//! Headers of requests, the keys `headers` and `header_files`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use serde::Deserialize;
use thiserror::Error;

/// The headers of each request to a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeaders {
    /// Those with their values.
    pub values: HeaderValues,
    /// Those whose values are in files.
    pub files: HeaderFiles,
}

/// Why headers are refused.
#[derive(Debug, Error)]
pub enum InvalidHeader {
    /// A header breaks the grammar of HTTP.
    #[error("`{0}` with this value is not a valid HTTP header")]
    Malformed(String),
    /// A name breaks the grammar of HTTP.
    #[error("`{0}` is not the name of an HTTP header")]
    Name(String),
    /// A header describes the body or the connection.
    #[error("tcpclose itself sets the header `{0}`")]
    Reserved(HeaderName),
    /// The path of a file is relative.
    #[error("a path in `header_files` must begin with `/`: a daemon has no working directory")]
    RelativePath,
}

/// Headers of HTTP, or metadata of gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct HeaderValues(HeaderMap);

impl HeaderValues {
    /// Returns all headers.
    #[must_use]
    pub fn map(&self) -> &HeaderMap {
        &self.0
    }
}

impl TryFrom<BTreeMap<String, String>> for HeaderValues {
    type Error = InvalidHeader;

    fn try_from(table: BTreeMap<String, String>) -> Result<Self, InvalidHeader> {
        let mut headers = HeaderMap::new();
        for (name, value) in table {
            let (Ok(key), Ok(mut value)) =
                (HeaderName::try_from(&name), HeaderValue::try_from(value))
            else {
                return Err(InvalidHeader::Malformed(name));
            };
            // Most values are tokens, which no message may show.
            value.set_sensitive(true);
            headers.insert(allowed(key)?, value);
        }
        Ok(Self(headers))
    }
}

/// The files with values of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, PathBuf>")]
pub struct HeaderFiles(Vec<(HeaderName, PathBuf)>);

impl HeaderFiles {
    /// Returns the names of the headers with their files.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &Path)> {
        self.0.iter().map(|(name, file)| (name, file.as_path()))
    }
}

impl TryFrom<BTreeMap<String, PathBuf>> for HeaderFiles {
    type Error = InvalidHeader;

    fn try_from(table: BTreeMap<String, PathBuf>) -> Result<Self, InvalidHeader> {
        let files = table.into_iter().map(|(name, file)| {
            if !file.is_absolute() {
                return Err(InvalidHeader::RelativePath);
            }
            let key = HeaderName::try_from(&name).map_err(|_| InvalidHeader::Name(name))?;
            Ok((allowed(key)?, file))
        });
        files.collect::<Result<_, _>>().map(Self)
    }
}

/// Refuses headers on which the body and the connection depend.
fn allowed(name: HeaderName) -> Result<HeaderName, InvalidHeader> {
    let reserved = [
        CONNECTION,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        TRANSFER_ENCODING,
    ];
    match reserved.contains(&name) {
        true => Err(InvalidHeader::Reserved(name)),
        false => Ok(name),
    }
}
