//! Finds the paths of cgroups while they exist, for recordings.

#![expect(unsafe_code, reason = "open_by_handle_at, which rustix does not have")]

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::PathBuf;

use super::cgroup::Cgroups;

/// `FILEID_KERNFS` of include/linux/exportfs.h (5.5): the handle of a cgroup is its id.
const FILEID_KERNFS: i32 = 0xfe;

/// Finds a cgroup's path by its id in some microseconds, without a walk: fast enough to do it as
/// soon as a process is seen.
#[derive(Debug)]
pub struct CgroupPaths {
    cgroups: Cgroups,
    mount: Option<File>,
}

/// `struct file_handle` of open_by_handle_at(2), with room for an id.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

impl CgroupPaths {
    /// Opens this host's cgroup2 file system.
    #[must_use]
    pub fn new() -> Self {
        let cgroups = Cgroups::new();
        let mount = cgroups
            .mount_point()
            .and_then(|point| File::open(point).ok());
        Self { cgroups, mount }
    }

    /// Returns the path from the root cgroup; `None` where the cgroup is gone or out of sight, or
    /// without the right to open files by their handles (`CAP_DAC_READ_SEARCH`).
    #[must_use]
    pub fn path(&self, id: u64) -> Option<String> {
        let mount = self.mount.as_ref()?;
        let mut handle = FileHandle {
            bytes: 8,
            kind: FILEID_KERNFS,
            id: id.to_ne_bytes(),
        };
        let directory = open_by_handle(mount, &mut handle)?;
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let found: PathBuf = fs::read_link(link).ok()?;
        self.cgroups.path_of_directory(&found)
    }
}

/// Calls open_by_handle_at(2), which rustix does not have; `None` where the kernel refuses.
fn open_by_handle(mount: &File, handle: &mut FileHandle) -> Option<OwnedFd> {
    // SAFETY: the handle is a struct file_handle followed by as many bytes as it says, and the
    // kernel only reads it. The descriptor that it returns is new.
    unsafe {
        let fd = libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            std::ptr::from_mut(handle),
            libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
        );
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        Some(OwnedFd::from_raw_fd(fd))
    }
}

impl Default for CgroupPaths {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::CgroupPaths;
    use crate::host::cgroup::Cgroups;

    #[test]
    fn a_cgroup_is_found_by_its_id_with_the_rights() {
        let paths = CgroupPaths::new();
        let Some(point) = Cgroups::new().mount_point().map(ToOwned::to_owned) else {
            return;
        };
        let root = fs::metadata(&point).unwrap().ino();
        if rustix::process::geteuid().is_root() {
            assert_eq!(
                paths.path(root),
                Cgroups::new().name(root).map(|name| name.path.clone())
            );
        }
        assert_eq!(paths.path(u64::MAX - 1), None);
    }
}
