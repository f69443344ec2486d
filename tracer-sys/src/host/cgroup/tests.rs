use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory that stands for a cgroup2 mount, removed at the end.
struct FakeMount(PathBuf);

impl FakeMount {
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

    fn cgroup_mount(&self) -> CgroupMount {
        let device = fs::symlink_metadata(&self.0).expect("it exists").dev();
        CgroupMount {
            point: self.0.clone(),
            prefix: String::new(),
            device,
        }
    }

    fn cgroups(&self) -> Cgroups {
        Cgroups::with_mount(Some(self.cgroup_mount()))
    }
}

impl Drop for FakeMount {
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
    let mount = FakeMount::new();
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
fn a_path_has_its_directorys_id() {
    let mount = FakeMount::new();
    let unit = mount.make("system.slice/mariadb.service");
    let id = |prefix: &str, path: &str| {
        let prefix = prefix.to_owned();
        let cgroup_mount = CgroupMount {
            prefix,
            ..mount.cgroup_mount()
        };
        Cgroups::with_mount(Some(cgroup_mount)).id(path)
    };
    assert_eq!(id("", "/system.slice/mariadb.service"), Some(unit));
    assert_eq!(id("", "/"), Some(mount.id("")));
    assert_eq!(id("/a", "/a/system.slice/mariadb.service"), Some(unit));
    assert_eq!(id("/a", "/a"), Some(mount.id("")));
    for elsewhere in ["/b", "/ab", "/"] {
        assert_eq!(id("/a", elsewhere), None, "{elsewhere}");
    }
    assert_eq!(id("", "/gone"), None);
}

#[test]
fn the_container_is_known_with_the_name() {
    let mount = FakeMount::new();
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
    let mount = FakeMount::new();
    let mut cgroups = mount.cgroups();
    assert_eq!(cgroups.name_at(0, secs(0)), None);
    assert_eq!(cgroups.last_walk, None);
    let mut without = Cgroups::with_mount(None);
    assert_eq!(without.name_at(1, secs(0)), None);
    assert_eq!(without.mount_point(), None);
}

#[test]
fn a_name_outlives_its_cgroup() {
    let mount = FakeMount::new();
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
fn walks_are_at_least_a_second_apart() {
    let mount = FakeMount::new();
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
fn an_absent_id_is_not_searched_again_for_a_minute() {
    let mount = FakeMount::new();
    let mut cgroups = mount.cgroups();
    for second in 0..60 {
        assert_eq!(cgroups.name_at(GONE, secs(second)), None);
    }
    assert_eq!(cgroups.last_walk, Some(secs(0)));
    assert_eq!(cgroups.name_at(GONE, secs(60)), None);
    assert_eq!(cgroups.last_walk, Some(secs(60)));
}

#[test]
fn the_number_of_remembered_absent_ids_is_bounded() {
    let mount = FakeMount::new();
    let mut cgroups = mount.cgroups();
    for tenth in 0..3_000 {
        let now = secs(0) + Nanos::from_millis(100 * tenth);
        assert_eq!(cgroups.name_at(GONE - tenth, now), None);
    }
    assert!(cgroups.absent.len() <= 60, "{}", cgroups.absent.len());
}

#[test]
fn a_clock_that_steps_back_a_little_does_no_harm() {
    let mount = FakeMount::new();
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
    let (mount, elsewhere) = (FakeMount::new(), FakeMount::new());
    let outside = elsewhere.make("outside");
    symlink(&elsewhere.0, mount.0.join("link")).expect("a link can be made");
    symlink(".", mount.0.join("loop")).expect("a link can be made");
    fs::write(mount.0.join("cgroup.procs"), "").expect("a file can be made");
    let mut cgroups = mount.cgroups();
    assert_eq!(cgroups.name_at(outside, secs(0)), None);
    assert_eq!(cgroups.cached.len(), 1);
}

#[test]
fn a_file_system_mounted_over_the_cgroups_is_ignored() {
    let mount = FakeMount::new();
    let cgroup_mount = CgroupMount {
        device: mount.cgroup_mount().device + 1,
        ..mount.cgroup_mount()
    };
    assert_eq!(
        Cgroups::with_mount(Some(cgroup_mount)).name_at(mount.id(""), secs(0)),
        None
    );
}

#[test]
fn a_walk_stops_at_its_limit_and_keeps_shallow_cgroups() {
    let mount = FakeMount::new();
    mount.make("a/a/a/a/a/a/a/a");
    mount.make("b");
    for limit in 1..=12 {
        let mut names = vec![];
        mount.cgroup_mount().walk(limit, |_, path| names.push(path));
        assert_eq!(names.len(), limit.min(10), "{names:?}");
        assert!(limit < 3 || names.contains(&"/b".to_owned()), "{names:?}");
    }
}

#[test]
fn the_least_recently_used_names_leave_first() {
    let mut known: HashMap<u64, CachedName> = (0..10)
        .map(|id| {
            let name = CgroupName {
                path: format!("/{id}"),
                container: None,
            };
            (
                id,
                CachedName {
                    name,
                    last_used: Nanos((id + 5) % 10),
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

fn find(mountinfo: &str) -> Option<CgroupMount> {
    CgroupMount::find(mountinfo.as_bytes())
}

fn cgroup_mount(point: &str, prefix: &str, minor: u32) -> Option<CgroupMount> {
    let device = rustix::fs::makedev(0, minor);
    Some(CgroupMount {
        point: point.into(),
        prefix: prefix.into(),
        device,
    })
}

#[test]
fn the_cgroup2_mount_is_found_among_others() {
    assert_eq!(find(HYBRID), cgroup_mount("/sys/fs/cgroup/unified", "", 38));
    assert_eq!(
        find("30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"),
        cgroup_mount("/sys/fs/cgroup", "", 26)
    );
}

#[test]
fn v1_mounts_and_broken_lines_are_ignored() {
    let v1 = "35 31 0:32 / /sys/fs/cgroup/cgroup2 rw - cgroup cgroup2 rw,memory\n";
    for text in [
        "",
        "\n",
        "a b c",
        v1,
        "1 2 0:x / /a rw - cgroup2 a rw",
        "1 2 0:1 / /a rw -",
    ] {
        assert_eq!(find(text), None, "{text:?}");
    }
}

#[test]
fn the_mount_that_shows_most_cgroups_is_used() {
    let own = "1 0 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    let hosts = "2 0 0:26 /../../.. /host/sys/fs/cgroup ro - cgroup2 cgroup2 rw\n";
    let part = "3 0 0:26 /user.slice/a /mnt ro - cgroup2 cgroup2 rw\n";
    for text in [format!("{own}{hosts}{part}"), format!("{part}{hosts}{own}")] {
        assert_eq!(find(&text), cgroup_mount("/host/sys/fs/cgroup", "", 26));
    }
    assert_eq!(
        find(&format!("{part}{own}{part}")),
        cgroup_mount("/sys/fs/cgroup", "", 26)
    );
    assert_eq!(find(part), cgroup_mount("/mnt", "/user.slice/a", 26));
}

#[test]
fn names_below_a_part_that_is_mounted_start_at_the_root() {
    let mount = cgroup_mount("/mnt", "/user.slice", 1).expect("it is one");
    assert_eq!(mount.name(Path::new("/mnt")), "/user.slice");
    assert_eq!(mount.name(Path::new("/mnt/a/b")), "/user.slice/a/b");
}

#[test]
fn this_hosts_topmost_cgroup_is_the_root() {
    let mut cgroups = Cgroups::new();
    let Some(point) = cgroups.mount_point() else {
        tcpclose_kit::skip::skip("no cgroup2 mounted here");
        return;
    };
    let id = fs::metadata(point).expect("it is mounted").ino();
    assert!(
        cgroups
            .name(id)
            .is_some_and(|name| name.path.starts_with('/'))
    );
}
