//! The frames of questions and answers: a header of 12 bytes, and what it says how long it is.

use thiserror::Error;

/// The length of a header in bytes.
pub(crate) const HEADER_LEN: usize = 12;

/// What every frame begins with, in each version of the protocol.
const MAGIC: [u8; 4] = *b"TCPC";

/// The header of a frame. Its own form is the same in every version of the protocol; numbers are
/// little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The version of what follows.
    pub version: u32,
    /// How many bytes follow.
    pub len: u32,
}

/// Why a frame is no frame of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    #[error("it does not begin as a frame does")]
    Magic,
    #[error("its version is {0}")]
    Version(u32),
    #[error("its {0} bytes are too many")]
    TooLong(u32),
    #[error("its content is invalid")]
    Content,
}

impl Header {
    /// Returns the header's bytes.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.version.to_le_bytes());
        bytes[8..].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    /// Returns how many bytes follow a header of this version; at most `most`.
    ///
    /// # Errors
    /// It is no header, or one of another version, or more bytes would follow.
    pub fn content_len(
        bytes: [u8; HEADER_LEN],
        version: u32,
        most: usize,
    ) -> Result<usize, FrameError> {
        let [a, b, c, d, v0, v1, v2, v3, l0, l1, l2, l3] = bytes;
        if [a, b, c, d] != MAGIC {
            return Err(FrameError::Magic);
        }
        let (theirs, len) = (
            u32::from_le_bytes([v0, v1, v2, v3]),
            u32::from_le_bytes([l0, l1, l2, l3]),
        );
        if theirs != version {
            return Err(FrameError::Version(theirs));
        }
        match len as usize <= most {
            true => Ok(len as usize),
            false => Err(FrameError::TooLong(len)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_length_of_what_follows() {
        let bytes = Header { version: 3, len: 9 }.to_bytes();
        assert_eq!(bytes, *b"TCPC\x03\0\0\0\x09\0\0\0");
        assert_eq!(Header::content_len(bytes, 3, 9), Ok(9));
        assert_eq!(
            Header::content_len(bytes, 3, 8),
            Err(FrameError::TooLong(9))
        );
        assert_eq!(
            Header::content_len(bytes, 1, 9),
            Err(FrameError::Version(3))
        );
        assert_eq!(
            Header::content_len(*b"GET / HTTP/1", 3, 9),
            Err(FrameError::Magic)
        );
    }
}
