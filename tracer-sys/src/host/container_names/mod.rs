//! Finds the names that people gave a container and its pod, in files that the kubelet and the
//! container runtimes keep on each host. No API is asked, so this needs no token, no socket of a
//! runtime, and no cluster that answers.
//!
//! The files are looked for below `/`, and below the root of process 1 where that is another one:
//! an agent in a container that shares the host's pid namespace finds the host's files there, with
//! the rights that it needs anyway to look at other processes.

mod cache;
mod host_root;
pub(crate) mod kubelet;
pub(crate) mod runtimes;
#[cfg(test)]
mod tests;

use std::sync::{LazyLock, Mutex, PoisonError};

use cache::{NameCache, is_complete};
use tcpclose_core::process::Container;

/// The names of this host's containers, for all threads.
static HOST_NAME_CACHE: LazyLock<Mutex<NameCache>> =
    LazyLock::new(|| Mutex::new(NameCache::for_host()));

/// Adds the names to a container, where they are known.
///
/// Reads files when the container is new, so it must not be called where events are read. What
/// cannot be read or understood is no error: the container has no names then, and the files are
/// read again later.
pub fn add_names(container: &mut Container) {
    if !container.names.as_ref().is_some_and(is_complete) {
        let mut cache = HOST_NAME_CACHE
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        container.names = cache.names(container);
    }
}
