//! Paths of cgroups while they are sure to be there, for those who keep them.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::PathBuf;

use super::cgroup::Cgroups;

/// `FILEID_KERNFS` of include/linux/exportfs.h (5.5): the handle of a cgroup is its id.
const FILEID_KERNFS: i32 = 0xfe;

/// Finds a cgroup's path by its id in some microseconds: no walk, so it can be asked as soon as a process is seen.
#[derive(Debug)]
pub struct CgroupPaths {
    cgroups: Cgroups,
    mount: Option<File>,
}

/// `struct file_handle` of open_by_handle_at(2), with room for an id.
#[repr(C)]
struct Handle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

impl CgroupPaths {
    /// For this host's cgroup2 file system.
    #[must_use]
    pub fn new() -> Self {
        let cgroups = Cgroups::new();
        let mount = cgroups
            .mount_point()
            .and_then(|point| File::open(point).ok());
        Self { cgroups, mount }
    }

    /// The path from the root cgroup; `None` where the cgroup is gone or out of sight, or the right is missing to open
    /// files by their handles (`CAP_DAC_READ_SEARCH`).
    #[must_use]
    pub fn path(&self, id: u64) -> Option<String> {
        let mount = self.mount.as_ref()?;
        let mut handle = Handle {
            bytes: 8,
            kind: FILEID_KERNFS,
            id: id.to_ne_bytes(),
        };
        // SAFETY: the handle is a struct file_handle followed by as many bytes as it says; the kernel reads it only.
        let opened = unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                mount.as_raw_fd(),
                &raw mut handle,
                libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC,
            )
        };
        let opened = i32::try_from(opened).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just opened it for us.
        let directory = unsafe { OwnedFd::from_raw_fd(opened) };
        let link = format!("/proc/self/fd/{}", directory.as_raw_fd());
        let found: PathBuf = fs::read_link(link).ok()?;
        self.cgroups.path_of(&found)
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
    fn a_cgroup_is_found_by_its_id_where_the_rights_are_there() {
        let paths = CgroupPaths::new();
        let Some(point) = Cgroups::new().mount_point().map(ToOwned::to_owned) else {
            return;
        };
        let root = fs::metadata(&point).unwrap().ino();
        // SAFETY: no arguments, and it cannot fail.
        if unsafe { libc::geteuid() } == 0 {
            assert_eq!(
                paths.path(root),
                Cgroups::new().name(root).map(|name| name.path.clone())
            );
        }
        assert_eq!(paths.path(u64::MAX - 1), None);
    }
}
