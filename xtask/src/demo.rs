//! Shows tcpclose on a server that leaks, in a network namespace of its own.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::IntoRawFd as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::{
    command::{announce, exit_code, find_program, status},
    compile,
    privilege::Privilege,
    workspace::Workspace,
};

/// Where the leaking server listens. Nothing else is in that namespace.
const SERVER_ADDRESS: (&str, u16) = ("127.0.0.1", 8080);
/// Connections that the server reads to their end and forgets.
const READ_CONNECTIONS: usize = 5;
/// Connections of which it does not read the end.
const UNREAD_CONNECTIONS: usize = 2;
/// Connections that it does not accept any more.
const UNACCEPTED_CONNECTIONS: usize = 1;
/// Age of the stuck sockets when `tcpclose leaks` scans.
const STUCK_AGE: Duration = Duration::from_secs(3);

/// Arguments of `cargo xtask demo`.
#[derive(Args)]
pub struct Demo {
    /// What to show
    what: DemoProcess,
    /// Show this build of tcpclose
    program: Option<PathBuf>,
}

impl Demo {
    /// Returns whether this is a helper process of a demo.
    pub fn is_helper_process(&self) -> bool {
        self.what != DemoProcess::Leak
    }
}

/// The demo, and the helper processes that it consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DemoProcess {
    /// A server forgets to close its connections, and `tcpclose leaks` names it
    Leak,
    #[value(hide = true)]
    LeakInNetns,
    #[value(hide = true)]
    LeakServer,
}

/// Runs the demo, as root (through sudo for any other user).
pub fn demo(workspace: &Workspace, demo: &Demo) -> Result<ExitCode> {
    let privilege = Privilege::detect();
    if privilege == Privilege::None {
        bail!("the demo needs root for a network namespace of its own, and there is no sudo here");
    }
    let program = match &demo.program {
        Some(program) => program.clone(),
        None => compile::build(workspace)?,
    };
    let own = env::current_exe().context("cannot find xtask itself")?;
    let args = [
        "demo".into(),
        "leak-in-netns".into(),
        program.into_os_string(),
    ];
    let mut command = in_own_network(privilege, own, &args)?;
    Ok(ExitCode::from(exit_code(status(&mut command)?)))
}

/// Runs a helper process of the demo.
pub fn run_helper(demo: &Demo) -> Result<ExitCode> {
    match (demo.what, &demo.program) {
        (DemoProcess::LeakInNetns, Some(program)) => leak(program),
        (DemoProcess::LeakServer, _) => leaking_server(),
        (DemoProcess::Leak | DemoProcess::LeakInNetns, _) => {
            bail!("this is not a helper process of the demo")
        }
    }
}

/// Returns a command that starts `program` as root in a new network namespace whose loopback
/// interface is up, in a mount namespace of its own, and with as many descriptors as it may have.
pub fn in_own_network(
    privilege: Privilege,
    program: PathBuf,
    args: &[OsString],
) -> Result<Command> {
    for (name, package) in [("unshare", "util-linux"), ("ip", "iproute2")] {
        ensure!(
            find_program(name).is_some(),
            "there is no `{name}` here: install {package}"
        );
    }
    let mut command = match privilege {
        Privilege::Root => Command::new("unshare"),
        Privilege::Sudo | Privilege::SudoAsks | Privilege::None => {
            let mut sudo = Command::new("sudo");
            sudo.args(["--", "unshare"]);
            sudo
        }
    };
    command.args([
        "--net",
        "--mount",
        "--",
        "sh",
        "-c",
        r#"ip link set lo up && ulimit -n "$(ulimit -H -n)" && exec "$0" "$@""#,
    ]);
    command.arg(program).args(args);
    Ok(command)
}

/// Another process of this program; killed when dropped.
pub struct HelperProcess(Child);

impl HelperProcess {
    /// Starts it and waits until it is ready.
    pub fn start(args: &[&str]) -> Result<Self> {
        let own = env::current_exe().context("cannot find xtask itself")?;
        let mut child = Command::new(own)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a process of the demo")?;
        let stdout = child.stdout.take();
        let process = Self(child);
        let mut line = String::new();
        BufReader::new(stdout.context("it has no output")?).read_line(&mut line)?;
        ensure!(
            line.trim() == "ready",
            "a helper process failed; its messages are above"
        );
        Ok(process)
    }
}

impl Drop for HelperProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Prints the word that [`HelperProcess::start`] waits for, and waits to be killed.
pub fn ready_and_wait() -> ! {
    println!("ready");
    loop {
        thread::park();
    }
}

fn leak(program: &Path) -> Result<ExitCode> {
    let _server = HelperProcess::start(&["demo", "leak-server"])?;
    let mut clients = Vec::new();
    for _ in 0..READ_CONNECTIONS + UNREAD_CONNECTIONS + UNACCEPTED_CONNECTIONS {
        let mut client =
            TcpStream::connect(SERVER_ADDRESS).context("cannot connect to the server")?;
        client.write_all(b"hello")?;
        clients.push(client);
    }
    thread::sleep(Duration::from_millis(500));
    // Every client closes. The server's kernel reports that to the server, which does nothing.
    drop(clients);
    thread::sleep(STUCK_AGE);
    announce(format_args!(
        "a server on port {} has {} connections; all its clients have closed, {} s ago",
        SERVER_ADDRESS.1,
        READ_CONNECTIONS + UNREAD_CONNECTIONS + UNACCEPTED_CONNECTIONS,
        STUCK_AGE.as_secs()
    ));
    // Only this namespace: the demo is about its own sockets.
    let args = ["leaks", "--min-age", "1s", "--netns", "/proc/self/ns/net"];
    for more in [&[][..], &["--all"]] {
        let shown = [&args[..], more].concat();
        announce(format_args!("tcpclose {}", shown.join(" ")));
        let status = status(Command::new(program).args(&shown))?;
        ensure!(
            status.code() == Some(1),
            "tcpclose leaks did not find the leak"
        );
    }
    announce("the exit code was 1: something is stuck");
    Ok(ExitCode::SUCCESS)
}

/// Accepts and reads connections, and never closes them.
fn leaking_server() -> Result<ExitCode> {
    // A name to be found by, in place of xtask's.
    fs::write("/proc/self/comm", "leaky-server").context("cannot rename this process")?;
    let listener = TcpListener::bind(SERVER_ADDRESS).context("cannot listen")?;
    thread::spawn(move || {
        let mut forgotten = Vec::new();
        for number in 0..READ_CONNECTIONS + UNREAD_CONNECTIONS {
            let Ok((mut connection, _)) = listener.accept() else {
                break;
            };
            if number < UNREAD_CONNECTIONS {
                forgotten.push(connection);
                continue;
            }
            thread::spawn(move || {
                // read() returns 0 when the client has closed; close() should follow, and the
                // descriptor leaks instead.
                let _ = connection.read_to_end(&mut Vec::new());
                let _leaked = connection.into_raw_fd();
            });
        }
        // Never dropped: the server goes on.
        loop {
            thread::park();
        }
    });
    ready_and_wait()
}
