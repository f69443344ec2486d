//! Connections whose peer has closed, and processes that hold them.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;
use tcpclose_kit::command::inherit;
use tcpclose_kit::process::ChildGuard;
use tcpclose_kit::skip::skip;

/// Long enough for a FIN to arrive on loopback, and for the kernel's ticks to show it.
pub const MOMENT: Duration = Duration::from_millis(60);

/// A connection, both of whose ends are here.
pub struct Pair {
    pub client: TcpStream,
    pub server: TcpStream,
}

impl Pair {
    pub fn new() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        Self::through(&listener)
    }

    pub fn through(listener: &TcpListener) -> io::Result<Self> {
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, _) = listener.accept()?;
        Ok(Self { client, server })
    }

    /// The client says something and closes. The server has read `read` bytes of it, the end of
    /// stream too when that is `None`.
    pub fn closed_after(mut self, ended: &[u8], read: Option<usize>) -> io::Result<TcpStream> {
        self.client.write_all(ended)?;
        // So that the FIN comes behind what was read, and is no part of it.
        let mut buffer = vec![0; read.unwrap_or(ended.len())];
        self.server.read_exact(&mut buffer)?;
        drop(self.client);
        thread::sleep(MOMENT);
        if read.is_none() {
            assert_eq!(self.server.read(&mut [0])?, 0, "the end of stream");
        }
        Ok(self.server)
    }

    /// A server that read everything and did not close.
    pub fn forgotten() -> io::Result<TcpStream> {
        Self::new()?.closed_after(b"hello", None)
    }

    /// The client sends no more, but goes on to read.
    pub fn half_closed(self) -> io::Result<Self> {
        self.client.shutdown(Shutdown::Write)?;
        thread::sleep(MOMENT);
        Ok(self)
    }
}

/// A connection that waits to be accepted, closed by the client.
pub fn not_accepted(listener: &TcpListener) -> io::Result<SocketAddr> {
    let client = TcpStream::connect(listener.local_addr()?)?;
    let address = client.local_addr()?;
    drop(client);
    thread::sleep(MOMENT);
    Ok(address)
}

/// A process that holds a socket and sleeps; killed when dropped, or when the thread that started
/// it ends.
pub struct Sleeper(ChildGuard);

impl Sleeper {
    /// Starts it with a copy of `fd` under each of the numbers.
    pub fn with(fd: &impl AsRawFd, numbers: &[RawFd]) -> io::Result<Self> {
        Self::start(&mut Command::new("sleep"), fd, numbers)
    }

    /// The same with a program that behaves like sleep(1); the command may have arguments already.
    pub fn start(command: &mut Command, fd: &impl AsRawFd, numbers: &[RawFd]) -> io::Result<Self> {
        command
            .arg("1000")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        inherit(command, fd, numbers);
        ChildGuard::spawn(command).map(Self)
    }

    /// The same, but only its second thread sleeps: the first has exited when this returns. `None`,
    /// and reported, where there is no Python.
    pub fn without_first_thread(fd: &impl AsRawFd, number: RawFd) -> io::Result<Option<Self>> {
        // What exits is the calling thread alone (exit(2)), which is the first.
        let script = format!(
            "import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).syscall({}, 0)",
            libc::SYS_exit
        );
        let mut command = Command::new("python3");
        let sleeper = match Self::start(command.args(["-c", &script]), fd, &[number]) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                skip("no python3");
                return Ok(None);
            }
            started => started?,
        };
        let state = format!("/proc/{}/status", sleeper.pid());
        while !std::fs::read_to_string(&state)?.contains("State:\tZ") {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(sleeper))
    }

    pub fn pid(&self) -> u32 {
        self.0.pid()
    }
}
