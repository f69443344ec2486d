//! Finds the host's network namespaces (network_namespaces(7)), and enters them.
//!
//! A namespace is identified by its inode number. A [`NetNsHandle`] has only paths that lead to it,
//! no descriptor, so that a thousand containers cost no more descriptors than one: the file is
//! opened when the namespace is entered and closed right after. Each time it is checked that the
//! file is still that namespace's. (The kernel may reuse the number of a namespace that is gone, so
//! a handle that is kept for long may lead to another one.)

mod error;
mod handle;
mod lookup;
pub(crate) mod scan;

pub use error::NetNsError;
pub use handle::{NetNsHandle, cookie, current};
pub use lookup::{by_inode, by_name, by_path, by_user};
pub use scan::{NetnsScan, ScanGap, ScanTarget, scan};
