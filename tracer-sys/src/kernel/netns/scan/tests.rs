use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A directory that looks like procfs; links in it lead nowhere, as their text is all that is
/// read.
struct FakeProc(PathBuf);

impl FakeProc {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tcpclose-proc-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let fake = Self(std::env::temp_dir().join(name));
        fake.task("thread-self", 1, 1)?;
        fake.file("thread-self/mountinfo", "")?;
        fs::create_dir_all(fake.0.join("self/ns"))?;
        symlink("pid:[4026531836]", fake.0.join("self/ns/pid"))?;
        Ok(fake)
    }

    fn task(&self, directory: &str, net: u32, mnt: u32) -> io::Result<()> {
        let ns = self.0.join(directory).join("ns");
        fs::create_dir_all(&ns)?;
        symlink(format!("net:[{net}]"), ns.join("net"))?;
        symlink(format!("mnt:[{mnt}]"), ns.join("mnt"))
    }

    fn file(&self, path: &str, text: &str) -> io::Result<()> {
        fs::write(self.0.join(path), text)
    }

    /// Scans, and leaves out the caller's own namespace, whose number does not matter here.
    fn scan(&self) -> (Vec<u32>, Vec<ScanTarget>) {
        let own = current().ok();
        let scan = scan_below(&self.0);
        let found = scan.namespaces.iter().map(NetNsHandle::id);
        let mut found: Vec<u32> = found
            .filter(|id| Some(*id) != own)
            .map(NetNs::get)
            .collect();
        // Other file systems than procfs list a directory in any order.
        found.sort_unstable();
        let gaps = scan.gaps.iter().map(|gap| gap.target);
        (found, gaps.collect())
    }
}

impl Drop for FakeProc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const MOUNT: &str = "9 1 0:4 net:[33] /run/netns/red rw - nsfs nsfs rw\n";

fn mounted(text: &str) -> Vec<(u32, PathBuf)> {
    let mut all = vec![];
    mountinfo::read(text.as_bytes(), |mount| {
        all.extend(mounted_namespace(&mount).map(|id| (id.get(), mount.point())));
    })
    .expect("memory is readable");
    all
}

#[test]
fn named_and_container_namespaces_are_found_among_other_mounts() {
    let text = "\
22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw
418 26 0:4 net:[4026532281] /run/netns/blue rw shared:220 - nsfs nsfs rw
419 26 0:4 net:[4026532400] /run/docker/netns/1-ab\\040c\\134 rw - nsfs nsfs rw
420 26 0:4 mnt:[4026532500] /run/snapd/ns/x.mnt rw - nsfs nsfs rw
";
    assert_eq!(
        mounted(text),
        [
            (4026532281, PathBuf::from("/run/netns/blue")),
            (4026532400, PathBuf::from("/run/docker/netns/1-ab c\\")),
        ]
    );
}

#[test]
fn a_directory_named_like_a_namespace_is_ignored() {
    assert_eq!(mounted("1 2 8:1 net:[7] /mnt rw - ext4 /dev/sda1 rw\n"), []);
}

#[test]
fn a_truncated_mount_line_has_no_namespace() {
    let line = "418 26 0:4 net:[4026532281] /run/netns/blue rw shared:220 - nsfs nsfs rw";
    for end in 0..line.find("nsfs").expect("it is there") + 4 - 1 {
        assert_eq!(mounted(&line[..end]), [], "{end}");
    }
}

#[test]
fn each_namespace_is_found_once() -> io::Result<()> {
    let fake = FakeProc::new()?;
    fake.task("1", 11, 1)?;
    fake.task("2", 11, 1)?;
    fake.task("30", 22, 1)?;
    fake.file("thread-self/mountinfo", MOUNT)?;
    assert_eq!(fake.scan(), (vec![11, 22, 33], vec![]));
    Ok(())
}

#[test]
fn mounts_of_another_mount_namespace_are_found() -> io::Result<()> {
    let fake = FakeProc::new()?;
    fake.task("1", 11, 1)?;
    fake.task("40", 11, 2)?;
    fake.task("41", 11, 2)?;
    // The first one has exited by the time its mounts are read.
    fake.file("41/mountinfo", MOUNT)?;
    assert_eq!(fake.scan(), (vec![11, 33], vec![]));
    Ok(())
}

#[test]
fn a_process_that_exits_during_the_scan_is_not_a_gap() -> io::Result<()> {
    let fake = FakeProc::new()?;
    fake.task("1", 11, 1)?;
    fs::create_dir_all(fake.0.join("50/task/50"))?;
    fs::create_dir_all(fake.0.join("51"))?;
    assert_eq!(fake.scan(), (vec![11], vec![]));
    Ok(())
}

#[test]
fn other_threads_are_read_where_the_first_has_exited() -> io::Result<()> {
    let fake = FakeProc::new()?;
    fake.task("1", 11, 1)?;
    fs::create_dir_all(fake.0.join("60/task/60"))?;
    fake.task("60/task/61", 44, 1)?;
    assert_eq!(fake.scan(), (vec![11, 44], vec![]));
    Ok(())
}

#[test]
fn hidden_processes_and_other_pid_namespaces_are_gaps() -> io::Result<()> {
    let fake = FakeProc::new()?;
    fake.task("70", 11, 1)?;
    fs::remove_file(fake.0.join("self/ns/pid"))?;
    let (found, gaps) = fake.scan();
    assert_eq!(found, [11]);
    assert_eq!(
        gaps,
        [ScanTarget::HiddenProcesses, ScanTarget::OtherPidNamespaces]
    );
    Ok(())
}

#[test]
fn a_process_that_may_not_be_inspected_is_a_gap() -> io::Result<()> {
    let fake = FakeProc::new()?;
    fake.task("1", 11, 1)?;
    fake.task("80", 22, 1)?;
    let ns = fake.0.join("80/ns");
    fs::set_permissions(&ns, fs::Permissions::from_mode(0o000))?;
    let root = fs::read_link(ns.join("net")).is_ok();
    let seen = fake.scan();
    fs::set_permissions(&ns, fs::Permissions::from_mode(0o700))?;
    // Root reads it all the same.
    if !root {
        assert_eq!(seen, (vec![11], vec![ScanTarget::Process(80)]));
    }
    Ok(())
}
