//! Names of cgroups (v2) by their ids.
//!
//! A cgroup's id is the inode number of its directory (`cgroup_id()` in include/linux/cgroup.h, on 64-bit kernels from
//! 5.5 on) and is not given twice while the host is up, so that a name once found stays right after its cgroup is gone.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::container::Container;
use crate::lifecycle::types::Nanos;

/// Cgroups looked at in one walk, the ones nearest to the root first. Any user with a delegated cgroup can make as many
/// as they like; a few hundred containers make a few thousand.
const WALK_LIMIT: usize = 8_192;

/// Names kept, some 5 MB of them. At least [`WALK_LIMIT`], so that a walk never evicts what it has just found. When
/// there are more, those go that were neither asked for nor seen in a walk for the longest time.
const KNOWN_LIMIT: usize = WALK_LIMIT + WALK_LIMIT / 2;

/// Least time between two walks. One takes some 13 µs a cgroup [measured on 6.18 with 2,000 of them].
const WALK_PERIOD: Nanos = Nanos::from_secs(1);

/// How long an id that a walk did not find is taken for gone. With a walk a second that is at most 60 ids.
const ABSENT_PERIOD: Nanos = Nanos::from_secs(60);

/// What a cgroup is called. Names are chosen by whoever makes the cgroup: escape them before they are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupName {
    /// From the root cgroup, `/system.slice/mariadb.service`; the root is `/`. In a cgroup namespace, from the topmost
    /// cgroup that can be seen there. What is not UTF-8 is replaced by U+FFFD.
    pub path: String,
    /// The container that it belongs to.
    pub container: Option<Container>,
}

/// The cgroups of this host. Names are found by walking the cgroup2 file system, at most once a second, and kept.
#[derive(Debug)]
pub struct Cgroups {
    tree: Option<Tree>,
    known: HashMap<u64, Known>,
    /// Ids that were looked for in vain, and when.
    absent: HashMap<u64, Nanos>,
    last_walk: Option<Nanos>,
    /// When the clock of [`Self::name`] was zero.
    start: Instant,
}

#[derive(Debug)]
struct Known {
    name: CgroupName,
    used: Nanos,
}

impl Cgroups {
    /// Finds this host's cgroup2 file system. Where none is mounted (v1 alone) or /proc does not tell, no id has a
    /// name.
    #[must_use]
    pub fn new() -> Self {
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self::of(Tree::find(&String::from_utf8_lossy(&mountinfo)))
    }

    fn of(tree: Option<Tree>) -> Self {
        Self {
            tree,
            known: HashMap::new(),
            absent: HashMap::new(),
            last_walk: None,
            start: Instant::now(),
        }
    }

    /// Where the cgroup2 file system is mounted; `None` where it is not.
    #[must_use]
    pub fn mount_point(&self) -> Option<&Path> {
        self.tree.as_ref().map(|tree| tree.point.as_path())
    }

    /// The name of the cgroup with this id. `None` for id 0, for one that is gone or out of sight, and for one that is
    /// new while the last walk is less than a second old; ask again later then.
    ///
    /// Reads the file system only when the id is unknown and a walk is due.
    pub fn name(&mut self, id: u64) -> Option<&CgroupName> {
        self.name_at(id, self.start.elapsed().into())
    }

    /// [`Self::name`] at the time `now` of any clock that all calls share.
    fn name_at(&mut self, id: u64, now: Nanos) -> Option<&CgroupName> {
        if !self.known.contains_key(&id) {
            self.look_for(id, now);
        }
        let known = self.known.get_mut(&id)?;
        known.used = known.used.max(now);
        Some(&known.name)
    }

    fn look_for(&mut self, id: u64, now: Nanos) {
        let Some(tree) = &self.tree else { return };
        let walked_lately = self.last_walk.is_some_and(|last| now - last < WALK_PERIOD);
        let known_absent = self
            .absent
            .get(&id)
            .is_some_and(|&at| now - at < ABSENT_PERIOD);
        if id == 0 || walked_lately || known_absent {
            return;
        }
        self.last_walk = Some(now);
        tree.walk(WALK_LIMIT, |id, path| {
            let known = self.known.entry(id).or_insert_with(|| {
                let container = Container::from_cgroup_path(&path);
                Known {
                    name: CgroupName { path, container },
                    used: now,
                }
            });
            known.used = known.used.max(now);
        });
        evict(&mut self.known, KNOWN_LIMIT);
        self.absent.retain(|_, &mut at| now - at < ABSENT_PERIOD);
        if !self.known.contains_key(&id) {
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
fn evict(known: &mut HashMap<u64, Known>, limit: usize) {
    let Some(excess) = known.len().checked_sub(limit).filter(|&excess| excess > 0) else {
        return;
    };
    let mut by_use: Vec<(Nanos, u64)> = known.iter().map(|(&id, one)| (one.used, id)).collect();
    let (oldest, _, _) = by_use.select_nth_unstable(excess);
    for (_, id) in oldest {
        known.remove(id);
    }
}

/// A mounted cgroup2 file system.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tree {
    point: PathBuf,
    /// Path of the cgroup at the mount point, empty for the root.
    prefix: String,
    /// Whatever is mounted over or within it has another number.
    device: u64,
}

impl Tree {
    /// The mount in a `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) that shows the most.
    fn find(mountinfo: &str) -> Option<Self> {
        mountinfo
            .lines()
            .filter_map(Self::parse)
            .max_by_key(|&(rank, _)| rank)
            .map(|(_, tree)| tree)
    }

    /// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [OPTIONAL...] - TYPE SOURCE OPTIONS`, with how much the mount shows.
    fn parse(line: &str) -> Option<(isize, Self)> {
        let mut fields = line.split(' ');
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let device = libc::makedev(major.parse().ok()?, minor.parse().ok()?);
        let (root, point) = (fields.next()?, fields.next()?);
        if fields.skip_while(|&field| field != "-").nth(1)? != "cgroup2" {
            return None;
        }
        // The kernel writes spaces and the like as octal escapes. Nobody mounts cgroup2 at such a place.
        if point.contains('\\') || root.contains('\\') {
            return None;
        }
        // In a cgroup namespace `/..` is the cgroup above the namespace's root: a mount that was made outside.
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
                point: PathBuf::from(point),
                prefix,
                device,
            },
        ))
    }

    /// Calls `found` with id and path of each cgroup, parents before children, and stops after `limit` of them. What
    /// vanishes meanwhile or may not be read is left out.
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
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory that stands for a cgroup2 mount, removed at the end.
    struct Mount(PathBuf);

    impl Mount {
        fn new() -> Self {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let name = format!(
                "tcpclose-cgroup-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed)
            );
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).expect("the temporary directory is writable");
            Self(path)
        }

        /// Makes a cgroup and returns its id.
        fn make(&self, path: &str) -> u64 {
            fs::create_dir_all(self.0.join(path)).expect("a directory can be made");
            self.id(path)
        }

        fn remove(&self, path: &str) {
            fs::remove_dir(self.0.join(path)).expect("it is empty");
        }

        fn id(&self, path: &str) -> u64 {
            fs::symlink_metadata(self.0.join(path))
                .expect("it exists")
                .ino()
        }

        fn tree(&self) -> Tree {
            let device = fs::symlink_metadata(&self.0).expect("it exists").dev();
            Tree {
                point: self.0.clone(),
                prefix: String::new(),
                device,
            }
        }

        fn cgroups(&self) -> Cgroups {
            Cgroups::of(Some(self.tree()))
        }
    }

    impl Drop for Mount {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// An id that no directory of the test has.
    const GONE: u64 = u64::MAX;

    fn path(cgroups: &mut Cgroups, id: u64, now: Nanos) -> Option<String> {
        cgroups.name_at(id, now).map(|name| name.path.clone())
    }

    fn secs(secs: u64) -> Nanos {
        Nanos::from_secs(1_000 + secs)
    }

    #[test]
    fn an_id_is_its_directorys_inode_number() {
        let mount = Mount::new();
        let unit = mount.make("system.slice/mariadb.service");
        let mut cgroups = mount.cgroups();
        assert_eq!(
            path(&mut cgroups, mount.id(""), secs(0)).as_deref(),
            Some("/")
        );
        assert_eq!(
            path(&mut cgroups, unit, secs(0)).as_deref(),
            Some("/system.slice/mariadb.service")
        );
        assert_eq!(
            path(&mut cgroups, mount.id("system.slice"), secs(0)).as_deref(),
            Some("/system.slice")
        );
    }

    #[test]
    fn the_container_is_known_with_the_name() {
        let mount = Mount::new();
        let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
        let inside = mount.make(&format!("docker/{id}/init.scope"));
        let mut cgroups = mount.cgroups();
        let name = cgroups.name_at(inside, secs(0)).expect("it is there");
        assert_eq!(
            name.container
                .as_ref()
                .map(|container| container.id.as_str()),
            Some(id)
        );
        assert_eq!(
            cgroups
                .name_at(mount.id("docker"), secs(0))
                .expect("it is there")
                .container,
            None
        );
    }

    #[test]
    fn id_zero_and_a_host_without_cgroup2_have_no_names() {
        let mount = Mount::new();
        let mut cgroups = mount.cgroups();
        assert_eq!(cgroups.name_at(0, secs(0)), None);
        assert_eq!(cgroups.last_walk, None);
        let mut without = Cgroups::of(None);
        assert_eq!(without.name_at(1, secs(0)), None);
        assert_eq!(without.mount_point(), None);
    }

    #[test]
    fn a_name_outlives_its_cgroup() {
        let mount = Mount::new();
        let unit = mount.make("short.scope");
        let mut cgroups = mount.cgroups();
        assert_eq!(
            path(&mut cgroups, mount.id(""), secs(0)).as_deref(),
            Some("/")
        );
        mount.remove("short.scope");
        assert_eq!(path(&mut cgroups, GONE, secs(9)), None);
        assert_eq!(
            path(&mut cgroups, unit, secs(10)).as_deref(),
            Some("/short.scope")
        );
    }

    #[test]
    fn walks_are_a_second_apart_whatever_is_asked() {
        let mount = Mount::new();
        let mut cgroups = mount.cgroups();
        assert_eq!(path(&mut cgroups, GONE, secs(0)), None);
        let late = mount.make("late.scope");
        for id in (GONE - 1_000..GONE).chain([late]) {
            assert_eq!(cgroups.name_at(id, secs(1) - Nanos(1)), None);
        }
        assert_eq!(cgroups.last_walk, Some(secs(0)));
        assert_eq!(
            path(&mut cgroups, late, secs(1)).as_deref(),
            Some("/late.scope")
        );
        assert_eq!(cgroups.last_walk, Some(secs(1)));
    }

    #[test]
    fn an_absent_id_is_not_looked_for_again_for_a_minute() {
        let mount = Mount::new();
        let mut cgroups = mount.cgroups();
        for second in 0..60 {
            assert_eq!(cgroups.name_at(GONE, secs(second)), None);
        }
        assert_eq!(cgroups.last_walk, Some(secs(0)));
        assert_eq!(cgroups.name_at(GONE, secs(60)), None);
        assert_eq!(cgroups.last_walk, Some(secs(60)));
    }

    #[test]
    fn absent_ids_are_few_however_many_are_asked_for() {
        let mount = Mount::new();
        let mut cgroups = mount.cgroups();
        for tenth in 0..3_000 {
            let now = secs(0) + Nanos::from_millis(100 * tenth);
            assert_eq!(cgroups.name_at(GONE - tenth, now), None);
        }
        assert!(cgroups.absent.len() <= 60, "{}", cgroups.absent.len());
    }

    #[test]
    fn a_clock_that_steps_back_a_little_does_no_harm() {
        let mount = Mount::new();
        let unit = mount.make("a.service");
        let mut cgroups = mount.cgroups();
        assert_eq!(
            path(&mut cgroups, unit, secs(5)).as_deref(),
            Some("/a.service")
        );
        assert_eq!(
            path(&mut cgroups, unit, secs(4)).as_deref(),
            Some("/a.service")
        );
        assert_eq!(path(&mut cgroups, GONE, secs(4)), None);
    }

    #[test]
    fn symlinks_and_files_are_not_followed() {
        let (mount, elsewhere) = (Mount::new(), Mount::new());
        let outside = elsewhere.make("outside");
        symlink(&elsewhere.0, mount.0.join("link")).expect("a link can be made");
        symlink(".", mount.0.join("loop")).expect("a link can be made");
        fs::write(mount.0.join("cgroup.procs"), "").expect("a file can be made");
        let mut cgroups = mount.cgroups();
        assert_eq!(cgroups.name_at(outside, secs(0)), None);
        assert_eq!(cgroups.known.len(), 1);
    }

    #[test]
    fn what_is_mounted_over_the_cgroups_is_not_taken_for_them() {
        let mount = Mount::new();
        let tree = Tree {
            device: mount.tree().device + 1,
            ..mount.tree()
        };
        assert_eq!(Cgroups::of(Some(tree)).name_at(mount.id(""), secs(0)), None);
    }

    #[test]
    fn a_walk_ends_at_its_limit_with_the_shallow_ones() {
        let mount = Mount::new();
        mount.make("a/a/a/a/a/a/a/a");
        mount.make("b");
        for limit in 1..=12 {
            let mut names = vec![];
            mount.tree().walk(limit, |_, path| names.push(path));
            assert_eq!(names.len(), limit.min(10), "{names:?}");
            assert!(limit < 3 || names.contains(&"/b".to_owned()), "{names:?}");
        }
    }

    #[test]
    fn the_least_recently_used_names_leave_first() {
        let mut known: HashMap<u64, Known> = (0..10)
            .map(|id| {
                let name = CgroupName {
                    path: format!("/{id}"),
                    container: None,
                };
                (
                    id,
                    Known {
                        name,
                        used: Nanos((id + 5) % 10),
                    },
                )
            })
            .collect();
        evict(&mut known, 10);
        assert_eq!(known.len(), 10);
        evict(&mut known, 7);
        let mut left: Vec<u64> = known.into_keys().collect();
        left.sort_unstable();
        assert_eq!(left, [0, 1, 2, 3, 4, 8, 9]);
    }

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw
";

    fn tree(point: &str, prefix: &str, minor: u32) -> Option<Tree> {
        let device = libc::makedev(0, minor);
        Some(Tree {
            point: point.into(),
            prefix: prefix.into(),
            device,
        })
    }

    #[test]
    fn the_cgroup2_mount_is_found_among_others() {
        assert_eq!(Tree::find(HYBRID), tree("/sys/fs/cgroup/unified", "", 38));
        assert_eq!(
            Tree::find("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"),
            tree("/sys/fs/cgroup", "", 26)
        );
    }

    #[test]
    fn v1_alone_and_broken_lines_are_no_cgroup2() {
        let v1 = "35 31 0:32 / /sys/fs/cgroup/cgroup2 rw - cgroup cgroup2 rw,memory\n";
        for text in [
            "",
            "\n",
            "a b c",
            v1,
            "1 2 0:x / /a rw - cgroup2 a rw",
            "1 2 0:1 / /a rw -",
        ] {
            assert_eq!(Tree::find(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_mount_that_shows_the_most_is_taken() {
        let own = "1 0 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let hosts = "2 0 0:26 /../../.. /host/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
        let part = "3 0 0:26 /user.slice/a /mnt ro - cgroup2 cgroup2 rw\n";
        for text in [format!("{own}{hosts}{part}"), format!("{part}{hosts}{own}")] {
            assert_eq!(Tree::find(&text), tree("/host/sys/fs/cgroup", "", 26));
        }
        assert_eq!(
            Tree::find(&format!("{part}{own}{part}")),
            tree("/sys/fs/cgroup", "", 26)
        );
        assert_eq!(Tree::find(part), tree("/mnt", "/user.slice/a", 26));
    }

    #[test]
    fn names_below_a_part_that_is_mounted_start_at_the_root() {
        let tree = tree("/mnt", "/user.slice", 1).expect("it is one");
        assert_eq!(tree.name(Path::new("/mnt")), "/user.slice");
        assert_eq!(tree.name(Path::new("/mnt/a/b")), "/user.slice/a/b");
    }

    #[test]
    fn this_hosts_topmost_cgroup_is_the_root() {
        let mut cgroups = Cgroups::new();
        let Some(point) = cgroups.mount_point() else {
            eprintln!("skipped: no cgroup2 mounted here");
            return;
        };
        let id = fs::metadata(point).expect("it is mounted").ino();
        assert!(
            cgroups
                .name(id)
                .is_some_and(|name| name.path.starts_with('/'))
        );
    }
}
