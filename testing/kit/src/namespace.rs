//! Moving the calling thread between network namespaces.

#![expect(unsafe_code, reason = "unshare(2)")]

use std::io;
use std::os::fd::AsFd;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::interfaces::bring_up;

/// Moves the calling thread into a new network namespace with its loopback interface up.
///
/// # Errors
/// It is not allowed.
pub fn enter_new_netns() -> io::Result<()> {
    // SAFETY: no descriptor table is unshared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    bring_up("lo")
}

/// Moves the calling thread into a network namespace.
///
/// # Errors
/// It is not allowed, or the file is no network namespace.
pub fn enter_netns(netns: &impl AsFd) -> io::Result<()> {
    move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(())
}
