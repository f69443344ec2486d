//! What all packages of a run have in common.

use std::path::PathBuf;

use super::host::Epoch;

/// A release.
pub struct Release {
    /// The program's version.
    pub version: String,
    /// When the release was made.
    pub epoch: Epoch,
    /// Where the packages go.
    pub folder: PathBuf,
}
