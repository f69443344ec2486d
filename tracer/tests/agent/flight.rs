//! The flight recorder: what the agent saw, after it was killed, too.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use socket2::SockRef;

use crate::program::{Agent, eventually};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

struct Testbed<'a> {
    netns: &'a str,
    scratch: Scratch,
    listener: TcpListener,
}

impl Testbed<'_> {
    fn folder(&self) -> PathBuf {
        self.scratch.path("flight")
    }

    /// An agent with a run directory of its own, and this flight recorder.
    fn start(&self, run: &str) -> io::Result<Agent> {
        let config = format!(
            "interval = \"1h\"\nrun_directory = \"{}\"\noutput = []\n[trace]\nnetns = \"{}\"\n\
             [prometheus]\nenabled = false\n\
             [flight_recorder]\nenabled = true\nsize = \"4MiB\"\ndirectory = \"{}\"\n",
            self.scratch.path(run).display(),
            self.netns,
            self.folder().display(),
        );
        Agent::start(&self.scratch, &config)
    }

    /// Resets a connection, and returns its client's port.
    fn reset(&self) -> io::Result<u16> {
        let client = TcpStream::connect(self.listener.local_addr()?)?;
        let port = client.local_addr()?.port();
        let accepted = self.listener.accept()?.0;
        SockRef::from(&accepted).set_linger(Some(std::time::Duration::ZERO))?;
        drop(accepted);
        Ok(port)
    }

    fn run(&self, args: &[&str]) -> io::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tcpclose"));
        command.args(args).stdin(Stdio::null()).output()
    }

    /// Asks the agent with this run directory.
    fn ask(&self, run: &str, args: &[&str]) -> io::Result<Output> {
        let socket = self.scratch.path(run).join("agent.sock");
        let socket = socket.to_str().map(str::to_owned).unwrap_or_default();
        self.run(&[args, &["--agent", &socket]].concat())
    }
}

fn messages(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The ports of clients in lines of JSON.
fn clients(output: &Output) -> BTreeSet<u64> {
    let text = String::from_utf8_lossy(&output.stdout);
    let records = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let closes = records.filter(|record: &Value| record["conn"]["role"] == "client");
    closes
        .filter_map(|record| record["conn"]["local"]["port"].as_u64())
        .collect()
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() -> TestResult {
    in_own_network(|netns| {
        let testbed = Testbed {
            netns,
            scratch: Scratch::new(),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        };
        fs::create_dir(testbed.folder())?;
        fs::set_permissions(testbed.folder(), fs::Permissions::from_mode(0o777))?;
        let agent = testbed.start("run")?;
        let refused = agent.stderr();
        assert!(refused.contains("others may write to it"), "{refused}");
        agent.end()?;
        Ok(())
    })
}

#[test]
fn the_flight_recorder_outlives_its_agent_and_is_kept_as_a_recording() -> TestResult {
    in_own_network(|netns| {
        let testbed = Testbed {
            netns,
            scratch: Scratch::new(),
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        };
        let agent = testbed.start("run")?;
        let first = testbed.reset()?;
        let last = ["resets", "--last", "5m", "--json"];
        let shown = eventually("the first is on disk", || {
            let shown = testbed.ask("run", &last)?;
            Ok(clients(&shown).contains(&u64::from(first)).then_some(shown))
        })?;
        assert_eq!(shown.status.code(), Some(1), "{}", messages(&shown));
        assert!(
            messages(&shown).contains("reaches back"),
            "{}",
            messages(&shown)
        );
        // What was asked for is on disk then, and it is known that more was asked for than there
        // is.
        assert!(
            !messages(&shown).contains("disk is slow"),
            "{}",
            messages(&shown)
        );
        let none = testbed.ask("run", &["resets", "--last", "5m", "--port", "1"])?;
        assert_eq!(none.status.code(), Some(2), "{}", messages(&none));
        assert!(messages(&none).contains("less far"), "{}", messages(&none));
        let segment = fs::read_dir(testbed.folder())?
            .filter_map(Result::ok)
            .find(|file| file.file_name().as_encoded_bytes().starts_with(b"segment-"));
        let segment = segment.ok_or_else(|| io::Error::other("no segment"))?;
        assert_eq!(segment.metadata()?.permissions().mode() & 0o7777, 0o600);

        // A second agent does not get it, and works.
        let second = testbed.start("other")?;
        let refused = second.stderr();
        assert!(
            refused.contains("there is no flight recorder, as"),
            "{refused}"
        );
        assert!(
            refused.contains("another tcpclose agent holds"),
            "{refused}"
        );
        let none = testbed.ask("other", &last)?;
        assert!(
            messages(&none).contains("has no flight recorder"),
            "{}",
            messages(&none)
        );
        assert_eq!(none.status.code(), Some(2));
        second.end()?;

        agent.signal(Signal::KILL)?;
        drop(agent);
        let agent = testbed.start("run")?;
        let after = testbed.reset()?;
        let both = BTreeSet::from([first, after].map(u64::from));
        let shown = eventually("both are on disk", || {
            let shown = testbed.ask("run", &last)?;
            Ok(clients(&shown).is_superset(&both).then_some(shown))
        })?;
        let said = messages(&shown);
        assert!(said.contains("one segment ends unfinished"), "{said}");
        assert_eq!(shown.status.code(), Some(1), "{said}");

        let kept = testbed.scratch.path("kept.rec");
        let kept = kept.to_str().unwrap_or_default();
        for args in [
            &["dump", kept][..],
            &["dump", kept, "--force", "--last", "5m"],
        ] {
            let dumped = testbed.ask("run", args)?;
            assert!(dumped.status.success(), "{}", messages(&dumped));
            let replayed = testbed.run(&["resets", "--replay", kept, "--json"])?;
            assert!(
                clients(&replayed).is_superset(&both),
                "{}",
                messages(&replayed)
            );
        }
        let refused = testbed.ask("run", &["dump", kept])?;
        assert_eq!(refused.status.code(), Some(2));
        assert!(
            messages(&refused).contains("--force"),
            "{}",
            messages(&refused)
        );
        let page = testbed.ask("run", &["report", "--last", "5m", "-o", "-"])?;
        assert!(page.status.success(), "{}", messages(&page));
        assert!(String::from_utf8_lossy(&page.stdout).contains("<html"));
        let triage = testbed.ask("run", &["triage", "--last", "5m", "--netns", netns])?;
        assert_eq!(triage.status.code(), Some(1), "{}", messages(&triage));
        agent.end()?;
        // What is on disk needs no agent.
        let segment = segment.path();
        let segment = segment.to_str().unwrap_or_default();
        let replayed = testbed.run(&["watch", "--replay", segment, "--json"])?;
        assert!(
            clients(&replayed).contains(&u64::from(first)),
            "{}",
            messages(&replayed)
        );
        Ok(())
    })
}
