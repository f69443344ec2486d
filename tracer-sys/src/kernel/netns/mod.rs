//! Finds the host's network namespaces (network_namespaces(7)), and enters them.
//!
//! A namespace is identified by its inode number. A [`NetNsHandle`] has only paths that lead to it,
//! no descriptor, so that a thousand containers cost no more descriptors than one: the file is
//! opened when the namespace is entered and closed right after. Each time it is checked that the
//! file is still that namespace's. (The kernel may reuse the number of a namespace that is gone, so
//! a handle that is kept for long may lead to another one.)

mod by_descriptor;
mod error;
mod handle;
mod lookup;
mod nsfs;
pub(crate) mod scan;
mod socket_descriptor;

pub use by_descriptor::{
    KnownNamespaces, NamespacesByDescriptor, find_among_descriptors, find_by_descriptors,
};
pub use error::NetNsError;
pub use handle::{NetNsHandle, cookie, current};
pub(super) use lookup::scan_for;
pub use lookup::{by_inode, by_name, by_path, by_spec};
pub use scan::{NetNsScan, ScanGap, ScanTarget, scan};
