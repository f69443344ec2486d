//! What is written: entries, files, pipes and full disks.

use std::fs;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::harness::{Scratch, all, create, head, input, read, record};
use tcpclose::recording::{Entry, EntryRef, IfExists, Reader, Recorder};
use tcpclose_core::Input;
use tcpclose_core::finding::LossLocation;
use tcpclose_core::types::Nanos;

#[test]
fn recorded_entries_are_read_back() {
    let file = Scratch::new("again");
    record(&file.0, 100);
    let bytes = fs::read(&file.0).unwrap();
    assert!(bytes.starts_with(b"tcpclose recording 7\n"));
    assert_eq!(*Reader::new(&*bytes).unwrap().head(), head());
    let (entries, broken) = read(&bytes).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries, all(100));
}

#[test]
fn an_unfinished_recording_is_reported_as_broken() {
    let scratch = Scratch::new("dropped");
    let mut recorder = create(&scratch.0, &head()).unwrap();
    for number in 0..3 {
        recorder.input(&input(number));
    }
    recorder.input(&Input::Time(Nanos::from_secs(10)));
    drop(recorder);
    let whole = || {
        let (entries, broken) = read(&fs::read(&scratch.0).unwrap()).unwrap();
        (entries.len() > 3).then_some(broken)
    };
    let until = Instant::now() + Duration::from_secs(30);
    let broken = loop {
        match whole() {
            Some(broken) => break broken,
            None if Instant::now() < until => thread::sleep(Duration::from_millis(5)),
            None => panic!("it was not written"),
        }
    };
    let broken = broken.expect("it has no end");
    assert!(broken.to_string().contains("unfinished"), "{broken}");
}

#[test]
fn only_its_owner_may_read_a_recording() {
    use std::os::unix::fs::PermissionsExt as _;
    let file = Scratch::new("mode");
    fs::write(&file.0, "somebody's file, readable by all").unwrap();
    fs::set_permissions(&file.0, fs::Permissions::from_mode(0o644)).unwrap();
    record(&file.0, 1);
    let mode = fs::metadata(&file.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_recording_that_is_being_written_is_left_alone() {
    let file = Scratch::new("busy");
    let mut recorder = create(&file.0, &head()).unwrap();
    let other = create(&file.0, &head()).unwrap_err();
    assert!(other.to_string().contains("another program writes to it"));
    recorder.input(&input(0));
    recorder.finish().unwrap();
    let (entries, broken) = read(&fs::read(&file.0).unwrap()).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries.len(), 1);
}

#[test]
fn a_file_keeps_its_content_until_the_recording_begins() {
    let file = Scratch::new("prepared");
    fs::write(&file.0, "somebody's file").unwrap();
    let mut recorder = Recorder::prepare(&file.0, IfExists::Overwrite, &head()).unwrap();
    let many = 40_000;
    for number in 0..many {
        recorder.input(&input(number));
    }
    assert_eq!(fs::read_to_string(&file.0).unwrap(), "somebody's file");
    recorder.begin().unwrap();
    recorder.input(&input(many));
    let recorded = recorder.finish().unwrap();
    assert_eq!((recorded.entries, recorded.dropped), (many + 1, 0));
    let (entries, broken) = read(&fs::read(&file.0).unwrap()).unwrap();
    assert!(broken.is_none(), "{broken:?}");
    assert_eq!(entries, all(many + 1)[2..]);
}

#[test]
fn a_pipe_without_a_reader_is_not_waited_for() {
    let pipe = Scratch::pipe("nobody");
    let error = create(&pipe.0, &head()).unwrap_err();
    assert_eq!(error.to_string(), "no process reads from this pipe");
}

#[test]
fn all_that_a_slow_reader_had_no_room_for_is_reported_in_the_recording() {
    let pipe = Scratch::pipe("slow");
    let mut reading = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(&pipe.0)
        .unwrap();
    let mut recorder = create(&pipe.0, &head()).unwrap();
    let mut number = 0_u64;
    let mut record_more = |recorder: &mut Recorder| {
        let path = format!(
            "/{:x}",
            u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c)
        );
        recorder.entry(EntryRef::Cgroup {
            id: number,
            path: &path,
        });
        number += 1;
    };
    while recorder.dropped() < 100_000 {
        record_more(&mut recorder);
    }
    // Some of that is reported, and what is reported it is dropped, too.
    recorder.take_dropped();
    while recorder.dropped() < 200_000 {
        record_more(&mut recorder);
    }
    let reader = thread::spawn(move || {
        // SAFETY: the descriptor is open, and no pointer is passed.
        unsafe { libc::fcntl(reading.as_raw_fd(), libc::F_SETFL, 0) };
        let mut bytes = Vec::new();
        reading.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let recorded = recorder.finish().unwrap();
    let bytes = reader.join().unwrap();
    let mut reader = Reader::new(&*bytes).unwrap();
    let (mut reported, mut there) = (0, 0);
    while let Some(entry) = reader.next_entry().unwrap() {
        match entry {
            Entry::Input(Input::Loss(loss)) => {
                assert_eq!(loss.location, LossLocation::Recording);
                reported += loss.lost;
            }
            _ => there += 1,
        }
    }
    assert_eq!(reported, recorded.dropped);
    assert_eq!(there + reported, number);
}

/// /dev/full refuses all that is written to it.
#[test]
fn a_full_disk_is_an_error_and_not_a_panic() {
    let error = match create(Path::new("/dev/full"), &head()) {
        Ok(_) => panic!("nothing can be written there"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
}
