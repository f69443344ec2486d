//! Outputs of type `file` in folders in which other users may place names.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};

use tcpclose::output::sink::{SinkConfig, Target};

use crate::findings::{close, ids, long, start, try_start};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::is_root;

const STRANGER: Option<u32> = Some(65_534);

fn config(path: &Path) -> SinkConfig {
    SinkConfig::new(Target::File(path.to_owned()))
}

/// A folder such as /tmp.
fn sticky(scratch: &Scratch) -> PathBuf {
    let folder = scratch.path("sticky");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).expect("it is ours");
    folder
}

fn refusal(path: &Path) -> String {
    let error = try_start(&config(path)).0.expect_err("a stranger's");
    format!("{error:#}")
}

fn is_written_to(path: &Path) -> bool {
    let (mut sink, _) = start(&config(path));
    sink.offer(&close(7));
    let _ = sink.finish(long());
    ids(&fs::read(path).expect("the file")) == [7]
}

#[test]
fn a_link_of_a_stranger_is_refused_wherever_it_is_in_the_path() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = sticky(&scratch);
    let (victim, safe) = (folder.join("victim"), scratch.path("safe"));
    fs::write(&victim, "precious").expect("a file");
    fs::create_dir(&safe).expect("a folder");
    for (name, target) in [
        ("file", &victim),
        ("new", &safe.join("new")),
        ("folder", &safe),
    ] {
        let link = folder.join(name);
        symlink(target, &link).expect("a link");
        lchown(&link, STRANGER, None).expect("root may");
    }
    // A link of root's that leads to one of a stranger's.
    symlink(folder.join("file"), scratch.path("second")).expect("a link");
    for path in [
        folder.join("file"),
        folder.join("new"),
        folder.join("folder/x.jsonl"),
        scratch.path("second"),
    ] {
        let refusal = refusal(&path);
        assert!(refusal.contains("which user 65534 placed"), "{refusal}");
    }
    assert_eq!(
        fs::read_to_string(&victim).expect("it is there"),
        "precious"
    );
    assert_eq!(fs::read_dir(&safe).expect("it is there").count(), 0);
}

/// Also where its folder is the stranger's: only a folder in which nobody else places names vouches
/// for what is in it.
#[test]
fn a_file_that_a_stranger_has_placed_is_refused() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = sticky(&scratch);
    let path = folder.join("x.jsonl");
    fs::write(&path, "").expect("a file");
    chown(&path, STRANGER, None).expect("root may");
    let told = refusal(&path);
    assert!(told.contains("belongs to user 65534"), "{told}");

    let precious = scratch.path("precious");
    fs::write(&precious, "").expect("a file");
    let name = folder.join("second-name");
    fs::hard_link(&precious, &name).expect("a link");
    let told = refusal(&name);
    assert!(told.contains("has several names"), "{told}");

    let theirs = scratch.path("theirs");
    fs::create_dir(&theirs).expect("a folder");
    symlink(&precious, theirs.join("link")).expect("a link");
    lchown(theirs.join("link"), STRANGER, None).expect("root may");
    chown(&theirs, STRANGER, None).expect("root may");
    let told = refusal(&theirs.join("link"));
    assert!(told.contains("which user 65534 placed"), "{told}");
}

#[test]
fn links_and_files_of_root_work_and_so_do_strangers_files_in_a_folder_of_root() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = sticky(&scratch);
    symlink("../file", folder.join("root")).expect("a link");
    assert!(is_written_to(&folder.join("root")));
    assert!(is_written_to(&folder.join("new")));
    // As logrotate's `create 640 USER` makes it, and as an administrator links it.
    let theirs = scratch.path("theirs");
    fs::write(&theirs, "").expect("a file");
    chown(&theirs, STRANGER, None).expect("root may");
    symlink("theirs", scratch.path("link")).expect("a link");
    lchown(scratch.path("link"), STRANGER, None).expect("root may");
    assert!(is_written_to(&scratch.path("link")));
}
