//! Names that others chose.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;

use crate::program::{records, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;

/// A directory with a copy of sleep(1) under another name, removed at the end.
struct Copy(PathBuf);

impl Copy {
    fn named(name: &[u8]) -> std::io::Result<(Self, PathBuf)> {
        let directory =
            std::env::temp_dir().join(format!("tcpclose-names-{:?}", std::thread::current().id()));
        fs::create_dir_all(&directory)?;
        let program = directory.join(std::ffi::OsStr::from_bytes(name));
        let sleep = ["/usr/bin/sleep", "/bin/sleep"]
            .into_iter()
            .find(|path| fs::exists(path).unwrap_or(false));
        fs::copy(sleep.ok_or(std::io::ErrorKind::NotFound)?, &program)?;
        Ok((Self(directory), program))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nothing_in_a_name_reaches_the_terminal() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let (_copy, program) = Copy::named(b"\x1b[31m\n\"q'\xff\r")?;
        let _sleeper = Sleeper::start(&mut Command::new(&program), &server, &[207])?;
        drop(server);
        for args in [&["--all"][..], &["--format", "json"]] {
            let ended = scan(&[&["--netns", netns], args].concat())?;
            let controls = |text: &str| text.chars().any(|one| one != '\n' && one.is_control());
            assert!(
                !controls(&ended.stdout) && !controls(&ended.stderr),
                "{}",
                ended.stdout
            );
            assert_eq!(ended.code, Some(1));
        }
        let table = scan(&["--netns", netns])?.stdout;
        assert!(table.contains("\\x1b[31m\\n\"q'\u{fffd}\\r"), "{table}");
        let ended = records(netns)?;
        assert_eq!(ended.stdout.lines().count(), 1);
        assert_eq!(
            ended.record()["owner"]["comm"],
            "\u{1b}[31m\n\"q'\u{fffd}\r"
        );
        Ok(())
    })
}

#[test]
fn a_command_line_of_a_megabyte_is_cut() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let zeros = "0".repeat(120_000);
        let mut sleep = Command::new("sleep");
        sleep.args((0..9).map(|_| &zeros));
        let sleeper = Sleeper::start(&mut sleep, &server, &[207])?;
        drop(server);
        assert!(fs::read(format!("/proc/{}/cmdline", sleeper.pid()))?.len() > 1_000_000);
        let ended = records(netns)?;
        assert!(ended.stdout.len() < 2_000, "{}", ended.stdout.len());
        let process = ended.record()["process"].clone();
        assert_eq!(process["command_line_cut"], true);
        let length: usize = process["command_line"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|arg| arg.as_str().map_or(0, str::len))
            .sum();
        assert_eq!(length, 256);
        let table = scan(&["--netns", netns])?.stdout;
        assert!(table.lines().all(|line| line.len() < 300), "{table}");
        assert!(table.contains("000…\n"), "{table}");
        Ok(())
    })
}

#[test]
fn a_program_that_was_deleted_is_reported() -> TestResult {
    in_own_network(|netns| {
        let server = Pair::forgotten()?;
        let (copy, program) = Copy::named(b"gone")?;
        let _sleeper = Sleeper::start(&mut Command::new(&program), &server, &[207])?;
        drop((server, copy));
        let exe = records(netns)?.record()["process"]["exe"].clone();
        assert!(
            exe.as_str()
                .is_some_and(|exe| exe.ends_with("/gone (deleted)")),
            "{exe}"
        );
        Ok(())
    })
}
