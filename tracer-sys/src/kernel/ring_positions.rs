//! Reads how far a ring buffer has been written and read: two pages that the kernel maps for user
//! space (`ringbuf_map_mmap_kern` of kernel/bpf/ringbuf.c). aya keeps its own mapping private.

#![expect(unsafe_code, reason = "mmap of the ring's positions")]

use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;

/// The consumer's page, followed by the producer's.
pub(super) struct RingPositions {
    pages: NonNull<u8>,
    page_len: usize,
}

// SAFETY: the pages stay mapped as long as this lives, whichever thread has it, and are only read,
// atomically.
unsafe impl Send for RingPositions {}
// SAFETY: as above.
unsafe impl Sync for RingPositions {}

impl RingPositions {
    /// Maps the two pages.
    ///
    /// # Errors
    /// The kernel refuses the mapping.
    pub fn map(ring: BorrowedFd<'_>) -> io::Result<Self> {
        let page_len = page_size();
        let (anywhere, from_start) = (ptr::null_mut(), 0);
        // SAFETY: the kernel chooses the address, and nothing writes through it.
        let pages = unsafe {
            mmap(
                anywhere,
                2 * page_len,
                ProtFlags::READ,
                MapFlags::SHARED,
                ring,
                from_start,
            )?
        };
        let pages = NonNull::new(pages.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pages, page_len })
    }

    /// Returns whether there are unread records, complete or still being written.
    pub fn has_unread(&self) -> bool {
        self.position(0) != self.position(1)
    }

    fn position(&self, page: usize) -> usize {
        // SAFETY: each page begins with its position, an unsigned long.
        let position = unsafe {
            self.pages
                .byte_add(page * self.page_len)
                .cast::<AtomicUsize>()
                .as_ref()
        };
        position.load(Ordering::Acquire)
    }
}

impl Drop for RingPositions {
    fn drop(&mut self) {
        // SAFETY: no reference into the pages is left.
        let _ = unsafe { munmap(self.pages.as_ptr().cast(), 2 * self.page_len) };
    }
}
