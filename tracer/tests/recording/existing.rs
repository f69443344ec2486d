//! Files that exist before a recording, and who placed them.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::Path;

use super::harness::{all, head, input, read};
use tcpclose::recording::{EntryRef, IfExists, Recorder};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::is_root;

const EACH: [IfExists; 3] = [IfExists::Refuse, IfExists::Overwrite, IfExists::MoveAside];

fn prepare(file: &Path, if_exists: IfExists) -> io::Result<Recorder> {
    Recorder::prepare(file, if_exists, &head())
}

fn record(mut recorder: Recorder, file: &Path) {
    recorder.entry(EntryRef::WallClock(-5));
    recorder.input(&input(0));
    recorder.finish().unwrap();
    let (entries, broken) = read(&fs::read(file).unwrap()).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    let expected = all(1);
    assert_eq!(entries, [expected[0].clone(), expected[2].clone()]);
    let mode = fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn an_existing_file_is_refused() {
    let scratch = Scratch::new();
    let file = scratch.write("x.rec", "somebody's file").unwrap();
    let refused = prepare(&file, IfExists::Refuse).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the file exists; name another one, or overwrite it with --force"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "somebody's file");
}

#[test]
fn an_older_recording_is_moved_aside_when_the_new_one_begins() {
    let scratch = Scratch::new();
    let file = scratch.write("x.rec", "yesterday's").unwrap();
    let old = scratch
        .write("x.rec.old", "that of the day before")
        .unwrap();
    drop(prepare(&file, IfExists::MoveAside).unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), "yesterday's");
    record(prepare(&file, IfExists::MoveAside).unwrap(), &file);
    assert_eq!(fs::read_to_string(&old).unwrap(), "yesterday's");
}

#[test]
fn a_recording_that_never_begins_leaves_no_file() {
    let scratch = Scratch::new();
    let file = scratch.path("x.rec");
    for if_exists in EACH {
        drop(prepare(&file, if_exists).unwrap());
        assert!(!file.exists());
        record(prepare(&file, if_exists).unwrap(), &file);
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn what_a_stranger_has_placed_is_neither_followed_nor_written_to() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let folder = scratch.path("sticky");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o1777)).unwrap();
    let victim = scratch.write("victim", "precious").unwrap();
    let (link, file) = (folder.join("link"), folder.join("file"));
    symlink(&victim, &link).unwrap();
    lchown(&link, Some(65_534), None).unwrap();
    fs::write(&file, "").unwrap();
    chown(&file, Some(65_534), None).unwrap();
    for if_exists in EACH {
        let refused = prepare(&link, if_exists).unwrap_err().to_string();
        assert!(
            refused.contains("the link link, which user 65534 placed"),
            "{refused}"
        );
        let refused = prepare(&file, if_exists).unwrap_err().to_string();
        assert!(refused.contains("belongs to user 65534"), "{refused}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::read(&file).unwrap(), b"");
}

/// The owner of a file can always read it, wherever it is.
#[test]
fn the_file_of_another_user_is_not_overwritten() {
    if !is_root() {
        return;
    }
    let scratch = Scratch::new();
    let file = scratch.write("x.rec", "theirs").unwrap();
    chown(&file, Some(65_534), None).unwrap();
    let refused = prepare(&file, IfExists::Overwrite).unwrap_err().to_string();
    assert!(
        refused.contains("who could read what is written"),
        "{refused}"
    );
    record(prepare(&file, IfExists::MoveAside).unwrap(), &file);
    assert_eq!(
        fs::read_to_string(scratch.path("x.rec.old")).unwrap(),
        "theirs"
    );
}
