//! How far a ring buffer has been written and read: two pages that the kernel shows to user space (`ringbuf_map_mmap_kern`
//! of kernel/bpf/ringbuf.c).

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The consumer's page, and behind it the producer's.
pub(super) struct Positions {
    pages: NonNull<u8>,
    page: usize,
}

// SAFETY: the pages stay mapped as long as this lives, whichever thread has it, and are only read, atomically.
unsafe impl Send for Positions {}
// SAFETY: as above.
unsafe impl Sync for Positions {}

impl Positions {
    /// Maps them.
    ///
    /// # Errors
    /// The kernel's.
    pub fn map(ring: BorrowedFd<'_>) -> io::Result<Self> {
        // SAFETY: the kernel chooses a place, and the pages are never written through it.
        let (page, pages) = unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let pages = libc::mmap(
                std::ptr::null_mut(),
                2 * page,
                libc::PROT_READ,
                libc::MAP_SHARED,
                ring.as_raw_fd(),
                0,
            );
            (page, pages)
        };
        if pages == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let pages = NonNull::new(pages.cast()).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pages, page })
    }

    /// Whether there are records that nobody has read, be they complete or still being written.
    pub fn differ(&self) -> bool {
        self.position(0) != self.position(1)
    }

    fn position(&self, page: usize) -> usize {
        // SAFETY: each page begins with its position, an unsigned long.
        let position = unsafe {
            self.pages
                .byte_add(page * self.page)
                .cast::<AtomicUsize>()
                .as_ref()
        };
        position.load(Ordering::Acquire)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: nobody has a reference into the pages any more.
        unsafe { libc::munmap(self.pages.as_ptr().cast(), 2 * self.page) };
    }
}
