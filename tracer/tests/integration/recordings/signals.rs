//! Signals to a recorder and a replay whose output stalls or whose terminal is gone.

use super::*;

/// Lets the pipe hold no more than a page.
fn narrow(pipe: &impl AsFd) {
    assert_eq!(rustix::pipe::fcntl_setpipe_size(pipe, 4096), Ok(4096));
}

/// As in `tcpclose record /dev/stdout | ssh ...` when the other host is gone.
#[test]
fn a_recorder_whose_reader_stalls_ends_at_the_second_interrupt() {
    let Some(lab) = lab() else { return };
    let mut command = lab.ns.command(program::path());
    let inode = lab.ns.inode().to_string();
    command.args(["record", "/dev/stdout", "--netns", &inode]);
    let mut recorder = ChildProcess::spawn_unread(&mut command);
    let unread = recorder.stdout_pipe();
    narrow(&unread);
    wait_until_begun(&recorder);
    for _ in 0..3 {
        visits(&lab);
    }
    recorder.interrupt();
    let early = within(Duration::from_secs(1), || {
        (!recorder.is_running()).then_some(())
    });
    assert!(early.is_none(), "{}", recorder.stderr.text());
    recorder.interrupt();
    assert_eq!(recorder.wait().signal(), Some(libc::SIGINT));
}

/// A terminal that is closed, or an ssh that breaks.
#[test]
fn a_hangup_ends_a_recording_as_it_should_unless_it_is_ignored() {
    let Some(lab) = lab() else { return };
    let scratch = Scratch::new();
    let inode = lab.ns.inode().to_string();
    // These tests may have been started by nohup themselves.
    for (how, ends) in [
        ("--default-signal=HUP", true),
        ("--ignore-signal=HUP", false),
    ] {
        let file = scratch.path("hung-up.rec");
        let mut command = lab.ns.command("env");
        command.args([how, &program::path()]);
        command.args(["record", "--force", text(&file), "--netns", &inode]);
        let mut recorder = ChildProcess::spawn(&mut command);
        wait_until_begun(&recorder);
        recorder.signal(Signal::HUP).unwrap();
        if !ends {
            let early = within(Duration::from_millis(300), || {
                (!recorder.is_running()).then_some(())
            });
            assert!(early.is_none(), "it has ended all the same");
            recorder.interrupt();
        }
        assert_eq!(recorder.wait().code(), Some(0));
        assert_eq!(replay(&file, &[]).code, Some(0));
    }
}

#[test]
fn a_replay_ends_at_an_interrupt_though_no_process_reads_its_output() {
    let kept = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/golden/closes.rec");
    for command in ["watch", "agent"] {
        let mut showing = program::command();
        showing.args([command, "--replay", kept]);
        let (unread, stdout) = std::io::pipe().expect("a pipe");
        // Before anything can be written.
        narrow(&unread);
        showing.stdin(Stdio::null()).stdout(stdout);
        let mut showing = ChildGuard::spawn(&mut showing).expect("tcpclose starts");
        let early = within(Duration::from_millis(300), || {
            (!showing.is_running()).then_some(())
        });
        assert!(early.is_none(), "{command} has ended before");
        showing.signal(Signal::INT).expect("a signal to a child");
        let status = showing.wait_for_end().expect("it ends");
        assert_eq!(status.code(), Some(0), "{command}");
    }
}
