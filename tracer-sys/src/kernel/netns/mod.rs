//! The host's network namespaces (network_namespaces(7)): finding all of them, and working inside one.
//!
//! A namespace is named by its inode number. A [`NetNsHandle`] holds only ways to get there, no descriptor, so that a
//! thousand containers cost no more descriptors than one: the file is opened when the namespace is entered and closed
//! right after. That what opens is still the namespace that was meant is checked each time. (The kernel may give the
//! number of a namespace that is gone to a new one; who keeps handles for long must expect that.)

mod error;
mod handle;
mod lookup;
pub(crate) mod scan;

pub use error::NetNsError;
pub use handle::{NetNsHandle, cookie, current};
pub use lookup::{by_inode, by_name, by_path, by_user};
pub use scan::{NetnsScan, ScanGap, ScanTarget, scan};
