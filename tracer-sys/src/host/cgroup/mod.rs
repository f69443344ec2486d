//! Finds the names of cgroups (v2) by their ids.
//!
//! A cgroup's id is the inode number of its directory (`cgroup_id()` in include/linux/cgroup.h, on
//! 64-bit kernels from 5.5 on) and is not given twice while the host is up, so that a name once
//! found stays right after its cgroup is gone.

use std::collections::HashMap;
use std::fs;
use std::io::BufRead;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::absent_keys::AbsentKeys;
use crate::host::mountinfo::{self, Mount};
use crate::host::{container, container_names};
use tcpclose_core::process::Container;
use tcpclose_core::types::Nanos;

/// The most cgroups that one walk visits, the ones nearest to the root first. Any user with a
/// delegated cgroup can make any number; a few hundred containers make a few thousand.
const MAX_WALKED_CGROUPS: usize = 8_192;

/// The most names that are kept, some 5 MB. At least [`MAX_WALKED_CGROUPS`], so that a walk never
/// evicts what it has just found. Beyond that the names are evicted that were neither requested nor
/// seen in a walk for the longest time.
const MAX_CACHED_NAMES: usize = MAX_WALKED_CGROUPS + MAX_WALKED_CGROUPS / 2;

/// Least time between two walks. One takes some 13 µs a cgroup [measured on 6.18 with 2,000 of
/// them].
const MIN_WALK_INTERVAL: Nanos = Nanos::from_secs(1);

/// How long an id that a walk did not find counts as gone.
const ABSENT_RETRY_INTERVAL: Nanos = Nanos::from_secs(60);

/// The most such ids: there is one in each walk at most.
const MAX_ABSENT_IDS: usize = 60;

/// The name of a cgroup. The creator of a cgroup chooses it: escape names before they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupName {
    /// From the root cgroup, `/system.slice/mariadb.service`; the root is `/`. In a cgroup
    /// namespace, from the topmost cgroup that can be seen there. What is not UTF-8 is replaced by
    /// U+FFFD.
    pub path: String,
    /// The container that it belongs to.
    pub container: Option<Container>,
}

/// The cgroups of this host. Names are found by walking the cgroup2 file system, at most once a
/// second, and kept.
#[derive(Debug)]
pub struct Cgroups {
    mount: Option<CgroupMount>,
    cached: HashMap<u64, CachedName>,
    /// Ids that a walk did not find.
    absent: AbsentKeys<u64>,
    last_walk: Option<Nanos>,
    /// The zero of the clock of [`Self::name`].
    start: Instant,
}

#[derive(Debug)]
struct CachedName {
    name: CgroupName,
    last_used: Nanos,
}

impl Cgroups {
    /// Finds this host's cgroup2 file system. Where none is mounted (v1 alone) or /proc cannot be
    /// read, no id has a name.
    #[must_use]
    pub fn new() -> Self {
        let mountinfo = mountinfo::open(Path::new("/proc/self/mountinfo"));
        Self::with_mount(mountinfo.ok().and_then(CgroupMount::find))
    }

    fn with_mount(mount: Option<CgroupMount>) -> Self {
        Self {
            mount,
            cached: HashMap::new(),
            absent: AbsentKeys::new(ABSENT_RETRY_INTERVAL, MAX_ABSENT_IDS),
            last_walk: None,
            start: Instant::now(),
        }
    }

    /// Returns where the cgroup2 file system is mounted; `None` where it is not.
    #[must_use]
    pub fn mount_point(&self) -> Option<&Path> {
        self.mount.as_ref().map(|mount| mount.point.as_path())
    }

    /// Returns the name of the cgroup with this id. `None` for id 0, for one that is gone or out of
    /// sight, and for one that is new while the last walk is less than a second old; call again
    /// later then.
    ///
    /// Reads the cgroup file system only when the id is unknown and a walk is due, and the files of
    /// container runtimes only when the container's names are unknown.
    pub fn name(&mut self, id: u64) -> Option<&CgroupName> {
        self.name_at(id, self.start.elapsed().into())
    }

    /// Returns the name as [`Self::name`] does, at the time `now` of any clock that all calls
    /// share.
    fn name_at(&mut self, id: u64, now: Nanos) -> Option<&CgroupName> {
        if !self.cached.contains_key(&id) {
            self.search(id, now);
        }
        let known = self.cached.get_mut(&id)?;
        known.last_used = known.last_used.max(now);
        if let Some(container) = &mut known.name.container {
            container_names::add_names(container);
        }
        Some(&known.name)
    }

    /// Returns the path from the root cgroup of the one whose directory this is; `None` for one
    /// that is gone or elsewhere.
    #[must_use]
    pub(super) fn path_of_directory(&self, directory: &Path) -> Option<String> {
        let mount = self.mount.as_ref()?;
        let metadata = fs::symlink_metadata(directory).ok()?;
        let is_there = metadata.is_dir() && metadata.dev() == mount.device;
        (is_there && directory.starts_with(&mount.point)).then(|| mount.name(directory))
    }

    /// Returns the id of the cgroup that a process has at `path` (`/proc/PID/cgroup`, v2). `None`
    /// where it is gone or not below the mount.
    #[must_use]
    pub fn id(&self, path: &str) -> Option<u64> {
        let mount = self.mount.as_ref()?;
        let below = path.strip_prefix(&mount.prefix)?;
        let directory = mount.point.join(below.trim_start_matches('/'));
        let metadata = fs::symlink_metadata(&directory).ok()?;
        let is_there = metadata.is_dir() && metadata.dev() == mount.device;
        (is_there && mount.name(&directory) == path).then(|| metadata.ino())
    }

    /// Returns whether the cgroup that a process has at `path` (`/proc/PID/cgroup`, v2) is frozen,
    /// itself or by one above it. `None` where that is not known: it is gone, or the root.
    #[must_use]
    pub fn is_frozen(&self, path: &str) -> Option<bool> {
        let mount = self.mount.as_ref()?;
        let below = path.strip_prefix(&mount.prefix)?;
        let directory = mount.point.join(below.trim_start_matches('/'));
        let events = fs::read_to_string(directory.join("cgroup.events")).ok()?;
        let state = events
            .lines()
            .find_map(|line| line.strip_prefix("frozen "))?;
        Some(state == "1")
    }

    fn search(&mut self, id: u64, now: Nanos) {
        let Some(mount) = &self.mount else { return };
        let walked_lately = self
            .last_walk
            .is_some_and(|last| now - last < MIN_WALK_INTERVAL);
        if id == 0 || walked_lately || self.absent.contains(&id, now) {
            return;
        }
        self.last_walk = Some(now);
        mount.walk(MAX_WALKED_CGROUPS, |id, path| {
            let known = self.cached.entry(id).or_insert_with(|| {
                let container = container::from_cgroup_path(&path);
                CachedName {
                    name: CgroupName { path, container },
                    last_used: now,
                }
            });
            known.last_used = known.last_used.max(now);
        });
        evict(&mut self.cached, MAX_CACHED_NAMES);
        if !self.cached.contains_key(&id) {
            self.absent.insert(id, now);
        }
    }
}

impl Default for Cgroups {
    fn default() -> Self {
        Self::new()
    }
}

/// Drops the least recently used until `limit` are left.
fn evict(known: &mut HashMap<u64, CachedName>, limit: usize) {
    let Some(excess) = known.len().checked_sub(limit).filter(|&excess| excess > 0) else {
        return;
    };
    let mut by_use: Vec<(Nanos, u64)> =
        known.iter().map(|(&id, one)| (one.last_used, id)).collect();
    let (oldest, _, _) = by_use.select_nth_unstable(excess);
    for (_, id) in oldest {
        known.remove(id);
    }
}

/// A mounted cgroup2 file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupMount {
    pub(crate) point: PathBuf,
    /// Path of the cgroup at the mount point, empty for the root.
    pub(crate) prefix: String,
    /// Number of the file system's device; another file system that is mounted over or within it
    /// has another number.
    device: u64,
}

impl CgroupMount {
    /// Returns the mount of cgroup2 that shows the most.
    pub(crate) fn find(mountinfo: impl BufRead) -> Option<Self> {
        let mut best: Option<(isize, Self)> = None;
        let read = mountinfo::read(mountinfo, |mount| {
            let found = Self::from_mount(&mount);
            best = best
                .take()
                .into_iter()
                .chain(found)
                .max_by_key(|(rank, _)| *rank);
        });
        read.ok()?;
        best.map(|(_, mount)| mount)
    }

    /// Returns the mount if it is one of cgroup2, with how much it shows.
    fn from_mount(mount: &Mount<'_>) -> Option<(isize, Self)> {
        if mount.file_system != b"cgroup2" {
            return None;
        }
        let root = mount.root();
        let root = String::from_utf8_lossy(&root);
        // In a cgroup namespace `/..` is the cgroup above the namespace's root: a mount that was
        // made outside.
        let (above, below): (Vec<&str>, Vec<&str>) = root
            .split('/')
            .filter(|name| !name.is_empty())
            .partition(|&name| name == "..");
        let rank = if below.is_empty() {
            above.len() as isize
        } else {
            -1
        };
        let prefix = below.iter().flat_map(|name| ["/", name]).collect();
        Some((
            rank,
            Self {
                point: mount.point(),
                prefix,
                device: mount.device()?,
            },
        ))
    }

    /// Calls `found` with id and path of each cgroup, parents before children, and stops after
    /// `limit` of them. Cgroups that vanish meanwhile or may not be read are left out.
    fn walk(&self, limit: usize, mut found: impl FnMut(u64, String)) {
        let mut queue = vec![self.point.clone()];
        let mut next = 0;
        while let Some(directory) = queue.get(next).cloned() {
            next += 1;
            let Ok(metadata) = fs::symlink_metadata(&directory) else {
                continue;
            };
            if !metadata.is_dir() || metadata.dev() != self.device {
                continue;
            }
            found(metadata.ino(), self.name(&directory));
            if queue.len() >= limit {
                continue;
            }
            let Ok(entries) = fs::read_dir(&directory) else {
                continue;
            };
            let children = entries
                .filter_map(Result::ok)
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path());
            queue.extend(children.take(limit - queue.len()));
        }
    }

    fn name(&self, directory: &Path) -> String {
        let below = directory
            .strip_prefix(&self.point)
            .unwrap_or(directory)
            .to_string_lossy();
        match (&*self.prefix, &*below) {
            ("", "") => "/".to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, below) => format!("{prefix}/{below}"),
        }
    }
}

#[cfg(test)]
mod tests;
