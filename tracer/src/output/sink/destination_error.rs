//! Why the destination of an output cannot be used.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why the destination of an output cannot be opened. The name of the output is not part of the
/// message: the caller puts it before.
#[derive(Debug, Error)]
pub enum DestinationError {
    /// The directory of the file does not exist.
    #[error("there is no directory {}; create it", .0.display())]
    NoDirectory(PathBuf),
    /// The path leads to a directory, a pipe or a device.
    #[error("it is not a regular file; choose another one")]
    NotRegular,
    /// Another program holds the file's lock.
    #[error(
        "another program writes to it and holds its lock; stop that program, or choose another file"
    )]
    Locked,
    /// A system call failed.
    #[error("{operation} failed: {error}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The answer of the operating system.
        error: io::Error,
    },
    /// Standard output cannot be used.
    #[error(transparent)]
    Stdout(io::Error),
    /// The file that is to be replaced ends with a partial line.
    #[error("a partial line could not be removed: {0}")]
    PartialLine(io::Error),
    /// A file of trusted authorities cannot be used.
    #[error("ca_file {}: {error}", file.display())]
    CaFile {
        /// The file that cannot be written.
        file: PathBuf,
        /// What is wrong with it.
        error: Box<dyn StdError + Send + Sync>,
    },
    /// A file of trusted authorities has none.
    #[error("ca_file {} has no certificate in PEM (-----BEGIN CERTIFICATE-----)", .0.display())]
    NoCertificate(PathBuf),
    /// The host has no trusted authorities.
    #[error("{0}: name a file with some in `ca_file`")]
    NoAuthorities(io::Error),
    /// A file with the value of a header cannot be used.
    #[error("header_files {}: {error}", file.display())]
    HeaderFile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        error: io::Error,
    },
    /// The output needs a feature that this build lacks.
    #[error("this tcpclose was built without the feature `{0}`")]
    Feature(&'static str),
    /// What its records are rendered with cannot be had.
    #[error("{0:#}")]
    Context(anyhow::Error),
}
