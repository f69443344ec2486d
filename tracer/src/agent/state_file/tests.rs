use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::time::{Duration, Instant};

use tcpclose_common::TcpState;

use super::format::{StateContent, StateHead, decode, encode};
use super::writer::{StateJob, StateWriter};
use super::*;
use crate::session::SavedSession;
use tcpclose_core::event::{Event, Evidence, Transition};
use tcpclose_core::types::{EndpointId, NetNs, Tuple};
use tcpclose_core::{Input, Saved, Tracker};

const UNTIL: Nanos = Nanos::from_secs(100);
const BOOT: &str = "6f1e9b0e-3c0f-4f4e-9b7c-0d3f8a1b2c3d";

/// What a tracker saves that has seen so many connections open, and their peers close.
fn saved(connections: u16) -> Saved {
    let mut tracker = Tracker::new(1 << 16).with_stuck_after(Nanos::from_secs(60));
    for port in 1..=connections {
        let ends = (
            SocketAddr::from(([127, 0, 0, 1], 80)),
            SocketAddr::from(([127, 0, 0, 1], port)),
        );
        for (old, new) in [
            (TcpState::SynRecv, TcpState::Established),
            (TcpState::Established, TcpState::CloseWait),
        ] {
            tracker.apply(&Input::Event(Event::Transition(Transition {
                at: Nanos::from_secs(1),
                id: EndpointId(port.into()),
                skaddr: None,
                netns: NetNs::new(1),
                tuple: Tuple::from(ends),
                old,
                new,
                task: None,
                evidence: Some(Evidence::default()),
            })));
        }
    }
    tracker.save(SaveScope::All, usize::MAX)
}

fn head() -> StateHead {
    StateHead {
        program: "0.1.0".to_owned(),
        boot: BOOT.to_owned(),
        traced: "everything".to_owned(),
        stuck_known_from: Nanos(7),
        is_complete: true,
        endpoints: 3,
        left_out: 0,
    }
}

fn session(connections: u16) -> SavedSession {
    SavedSession {
        until: UNTIL,
        is_complete: true,
        endpoints: saved(connections),
    }
}

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("tcpclose-state-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("state")
    }

    fn place(&self) -> ResolvedPath {
        ResolvedPath::find(&self.path()).expect("the folder exists")
    }

    /// A good file.
    fn write(&self) {
        let encoded = encode(&head(), &session(3));
        fs::write(self.path(), encoded.bytes).expect("it can be written");
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path(), mode).expect("it is ours");
    }

    fn read(&self) -> Result<Option<(StateHead, StateContent)>, String> {
        let read = read::read(&self.place(), BOOT, "everything", UNTIL);
        read.map_err(|refusal| refusal.to_string())
    }

    fn refusal(&self) -> String {
        self.read().expect_err("it is refused")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_was_written_is_read() {
    let folder = Folder::new("read");
    assert_eq!(folder.read(), Ok(None), "there is none yet");
    folder.write();
    let (read, content) = folder.read().expect("it is whole").expect("it is there");
    assert_eq!(read, head());
    assert_eq!((content.until, content.parts), (UNTIL, saved(3).parts));
}

#[test]
fn a_file_that_is_cut_or_changed_anywhere_is_refused() {
    let good = encode(&head(), &session(2)).bytes;
    decode(&good).expect("it is whole");
    for len in 0..good.len() {
        assert!(decode(&good[..len]).is_err(), "cut to {len} bytes");
    }
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        assert!(decode(&changed).is_err(), "changed at byte {at}");
    }
    let longer = [good.as_slice(), b"x"].concat();
    let error = decode(&longer).map(drop).expect_err("it is longer");
    assert_eq!(
        error.to_string(),
        "it is damaged: something follows its end"
    );
}

#[test]
fn each_refusal_is_a_sentence() {
    let folder = Folder::new("refusals");
    folder.write();
    let good = fs::read(folder.path()).expect("it is there");
    let refused = |boot, traced, now| {
        let read = read::read(&folder.place(), boot, traced, now);
        read.expect_err("it is refused").to_string()
    };
    let other = refused("another", "everything", UNTIL);
    assert_eq!(other, "the host has been booted since");
    let other = refused(BOOT, "port 80", UNTIL);
    assert!(other.contains("[trace] has changed"), "{other}");
    let other = refused(BOOT, "everything", Nanos(1));
    assert_eq!(other, "its times are in the future");

    fs::write(folder.path(), &good[..good.len() - 1]).expect("it is ours");
    assert_eq!(folder.refusal(), "it is damaged: it is cut");
    fs::write(folder.path(), b"tcpclose state 9\n").expect("it is ours");
    let version = "it has version 9, and this tcpclose reads version 2";
    assert_eq!(folder.refusal(), version);
    fs::write(folder.path(), b"[trace]\n").expect("it is ours");
    assert_eq!(folder.refusal(), "it is not a state file of tcpclose");

    let file = fs::File::options().write(true).open(folder.path());
    let file = file.expect("it is ours");
    file.set_len(format::MAX_FILE_LEN as u64 + 1)
        .expect("a hole");
    assert!(folder.refusal().contains("more than an agent writes"));
}

#[test]
fn what_strangers_can_have_written_is_refused() {
    let folder = Folder::new("strangers");
    folder.write();
    let mode = fs::Permissions::from_mode(0o622);
    fs::set_permissions(folder.path(), mode).expect("it is ours");
    assert_eq!(folder.refusal(), "other users may write to it");
    fs::remove_file(folder.path()).expect("it is ours");

    fs::create_dir(folder.path()).expect("a folder");
    assert_eq!(folder.place_error(), "Is a directory (os error 21)");
    fs::remove_dir(folder.path()).expect("it is ours");

    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path(), 0o600.into()).expect("a pipe");
    assert_eq!(folder.refusal(), "it is not a regular file");
    fs::remove_file(folder.path()).expect("it is ours");

    if rustix::process::geteuid().is_root() {
        folder.write();
        chown(folder.path(), Some(65_534), None).expect("root may");
        assert_eq!(folder.refusal(), "it belongs to user 65534");
        // A link of a stranger, in a folder where others may place names.
        fs::remove_file(folder.path()).expect("it is ours");
        let mode = fs::Permissions::from_mode(0o1777);
        fs::set_permissions(&folder.0, mode).expect("it is ours");
        symlink("/etc/passwd", folder.path()).expect("a link");
        std::os::unix::fs::lchown(folder.path(), Some(65_534), None).expect("root may");
        let error = folder.place_error();
        assert!(error.contains("user 65534 placed"), "{error}");
    }
}

impl Folder {
    fn place_error(&self) -> String {
        let found = ResolvedPath::find(&self.path());
        found.map(drop).expect_err("it is refused").to_string()
    }
}

fn until_written(writer: &StateWriter, written: u64, failed: u64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let counts = || {
        let counts = writer.counts();
        let read = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        (read(&counts.written), read(&counts.failed))
    };
    while counts() != (written, failed) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(counts(), (written, failed));
}

#[test]
fn a_file_is_replaced_as_a_whole_and_its_time_in_place() {
    let folder = Folder::new("writer");
    let writer = StateWriter::start(folder.place(), folder.path()).expect("a thread");
    let all = |connections| StateJob::All(Box::new((head(), session(connections))));
    assert!(writer.write(all(3)));
    until_written(&writer, 1, 0);
    let mode = fs::metadata(folder.path())
        .expect("it is there")
        .permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    let before = fs::File::open(folder.path()).expect("it is there");
    assert!(writer.write(StateJob::Until(Nanos(5))));
    until_written(&writer, 2, 0);
    let (_, content) = folder.read().expect("it is whole").expect("it is there");
    assert_eq!((content.until, content.parts), (Nanos(5), saved(3).parts));

    // What was left behind by an agent that was killed is in nobody's way; a folder is.
    fs::write(folder.0.join("state.new"), b"half").expect("it is ours");
    assert!(writer.write(all(1)));
    until_written(&writer, 3, 0);
    assert!(!folder.0.join("state.new").exists());
    drop(before);
    fs::create_dir(folder.0.join("state.new")).expect("a folder");
    assert!(writer.write(all(2)));
    until_written(&writer, 3, 1);
    let (_, content) = folder.read().expect("it is whole").expect("it is there");
    assert_eq!(content.parts, saved(1).parts, "the last good one stays");
    assert!(writer.counts().needs_all.load(Ordering::Relaxed));
    fs::remove_dir(folder.0.join("state.new")).expect("it is ours");

    // Somebody has removed the file: its time cannot be noted any more.
    fs::remove_file(folder.path()).expect("it is ours");
    assert!(writer.write(StateJob::Until(Nanos(6))));
    until_written(&writer, 3, 2);
    writer.finish(all(2), Instant::now() + Duration::from_secs(60));
    let (_, content) = folder.read().expect("it is whole").expect("it is there");
    assert_eq!(content.parts, saved(2).parts);
}

#[test]
fn the_path_is_that_of_the_configuration() {
    let path = |text| path(Some(Path::new(text)));
    assert_eq!(
        path("/var/lib/tcpclose/state"),
        Some("/var/lib/tcpclose/state".into())
    );
    assert_eq!(path(""), None, "it is turned off");
}

#[test]
fn a_second_agent_does_not_use_the_file() {
    let folder = Folder::new("lock");
    let open = || StateFile::open(&folder.path(), String::new(), Nanos(0));
    let first = open().expect("nobody uses it");
    let error = open().map(drop).expect_err("it is in use");
    assert!(
        error.to_string().contains("another tcpclose agent holds"),
        "{error}"
    );
    drop(first);
    open().expect("nobody uses it any more");
}
