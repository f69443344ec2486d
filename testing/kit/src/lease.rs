//! A file that cannot be opened for as long as a test wants.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use crate::system_call::check;

/// From the kernel's `asm-generic/fcntl.h`; libc has it not for every target.
const F_SETSIG: i32 = 10;

/// A lease of a file (fcntl(2), `F_SETLEASE`): a process that opens the file waits until this is
/// dropped, 45 s at most (`fs.lease-break-time`), as it waits for a slow network file system.
#[derive(Debug)]
pub struct Lease(File);

impl Lease {
    /// Takes the lease of a file that nobody has open.
    ///
    /// # Errors
    /// The file does not exist or is open, or its file system has no leases.
    pub fn take(file: &Path) -> io::Result<Self> {
        let lease = Self(File::options().read(true).write(true).open(file)?);
        // Its default would end the process; SIGURG is ignored.
        lease.fcntl(F_SETSIG, libc::SIGURG)?;
        lease.fcntl(libc::F_SETLEASE, libc::F_WRLCK)?;
        Ok(lease)
    }

    /// Returns whether a process waits to open the file.
    ///
    /// # Errors
    /// The system call has failed.
    pub fn is_waited_for(&self) -> io::Result<bool> {
        Ok(self.fcntl(libc::F_GETLEASE, 0)? != libc::F_WRLCK)
    }

    #[expect(unsafe_code, reason = "rustix has no leases")]
    fn fcntl(&self, command: i32, argument: i32) -> io::Result<i32> {
        // SAFETY: the descriptor is open, and no pointer is passed.
        check(unsafe { libc::fcntl(self.0.as_raw_fd(), command, argument) })
    }
}
