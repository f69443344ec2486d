//! Places to test in: network namespaces of a thread's or a process's own.

#![expect(unsafe_code, reason = "system calls that std does not offer")]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use tcpclose_core::types::NetNs;

/// What a test returns.
pub type Outcome = Result<(), Box<dyn std::error::Error>>;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Whether the calling test must not run here. Says so, or panics where tests are not to be skipped.
pub fn skipped() -> bool {
    let allowed = thread::spawn(|| {
        // SAFETY: no pointer is passed; it changes this thread only, which ends at once.
        check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).is_ok()
    })
    .join()
    .unwrap_or(false);
    let required = std::env::var_os("TCPCLOSE_TEST_REQUIRE").is_some_and(|value| value == "1");
    assert!(allowed || !required, "needs root");
    if !allowed {
        println!("skipped: needs root");
    }
    !allowed
}

/// Runs a test in a new network namespace whose loopback interface is up.
pub fn in_own_network(test: impl FnOnce() -> Outcome + Send) -> Outcome {
    if skipped() {
        return Ok(());
    }
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            enter_new_network()?;
            test().map_err(|error| io::Error::other(error.to_string()))
        });
        match worker.join() {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Moves the calling thread to a new network namespace with its loopback interface up.
pub fn enter_new_network() -> io::Result<()> {
    // SAFETY: no pointer is passed; it changes the calling thread only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    // SAFETY: no pointer is passed.
    let raw =
        check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the descriptor was just made and nobody else has it.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: `request` is an `ifreq`, as this ioctl wants.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) })?;
    Ok(())
}

/// A thread that stays in a network namespace of its own.
pub struct Resident {
    /// Where its namespace is found.
    pub path: PathBuf,
    leave: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Resident {
    /// `furnish` runs inside; what it returns lives as long as the thread.
    pub fn with<T>(furnish: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<Self> {
        let (leave, wait) = mpsc::channel::<()>();
        let (ready, furnished) = mpsc::channel();
        let thread = thread::spawn(move || {
            let room = enter_new_network().and_then(|()| furnish());
            let task = std::fs::read_link("/proc/thread-self");
            let (room, told) = match room {
                Ok(room) => (Some(room), task),
                Err(error) => (None, Err(error)),
            };
            let _ = ready.send(told);
            let _ = wait.recv();
            drop(room);
        });
        let task = furnished.recv().map_err(io::Error::other)??;
        Ok(Self {
            path: Path::new("/proc").join(task).join("ns/net"),
            leave: Some(leave),
            thread: Some(thread),
        })
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        drop(self.leave.take());
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// How a [`Child`] holds a network namespace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// It lives in it.
    ByLiving,
    /// It lives elsewhere, and has it mounted in its own mount namespace.
    ByMount,
}

/// A process that holds a network namespace which nothing else holds.
pub struct Child {
    /// Its number.
    pub pid: libc::pid_t,
    netns: u32,
    point: PathBuf,
}

impl Child {
    /// Forks. The child calls nothing but the kernel, as other threads may have held locks.
    pub fn new(holds: Holds) -> io::Result<Self> {
        let name = format!("tcpclose-netns-{:?}", thread::current().id());
        let point = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        File::create(&point)?;
        let target = CString::new(point.as_os_str().as_encoded_bytes())?;
        let mut ends = [0; 2];
        // SAFETY: `ends` has room for the two descriptors.
        check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) })?;
        // SAFETY: the descriptors were just made and nobody else has them.
        let [reader, writer] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
        // SAFETY: the child runs `hold` only, which makes system calls and nothing else.
        let pid = check(unsafe { libc::fork() })?;
        if pid == 0 {
            hold(holds, &target, writer.as_raw_fd());
        }
        drop(writer);
        let mut number = [0; 4];
        let told = File::from(reader).read_exact(&mut number);
        let child = Self {
            pid,
            netns: u32::from_ne_bytes(number),
            point,
        };
        told.map(|()| child)
    }

    /// Its namespace.
    pub fn netns(&self) -> NetNs {
        NetNs::new(self.netns).expect("no namespace has the number 0")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // SAFETY: no pointer is passed but null; the process is this one's child and not yet waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
        let _ = std::fs::remove_file(&self.point);
    }
}

const OWN_NETWORK: &CStr = c"/proc/self/ns/net";

fn hold(holds: Holds, target: &CStr, tell: libc::c_int) -> ! {
    // SAFETY: every pointer is to a C string or a local that outlives the call. After fork() these are all safe to
    // call: each is no more than a system call.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // Sockets of tests in other threads must not stay open here.
        libc::syscall(libc::SYS_close_range, 3, tell - 1, 0);
        libc::syscall(libc::SYS_close_range, tell + 1, libc::c_int::MAX, 0);
        let before = libc::open(OWN_NETWORK.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        let mut failed = libc::unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET);
        let mut status: libc::stat = std::mem::zeroed();
        failed |= libc::stat(OWN_NETWORK.as_ptr(), &mut status);
        if holds == Holds::ByMount {
            let none = std::ptr::null();
            let private = libc::MS_REC | libc::MS_PRIVATE;
            failed |= libc::mount(none, c"/".as_ptr(), none, private, none.cast());
            let (from, to) = (OWN_NETWORK.as_ptr(), target.as_ptr());
            failed |= libc::mount(from, to, none, libc::MS_BIND, none.cast());
            failed |= libc::setns(before, libc::CLONE_NEWNET);
        }
        libc::close(before);
        if failed == 0 {
            let number = (status.st_ino as u32).to_ne_bytes();
            libc::write(tell, number.as_ptr().cast(), number.len());
            loop {
                libc::pause();
            }
        }
        libc::_exit(1)
    }
}

/// A mount namespace of the calling thread's own, with an empty `/run`.
pub fn enter_new_mounts() -> io::Result<()> {
    let none = std::ptr::null();
    // SAFETY: every pointer is null or to a C string; it changes the calling thread only.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(none, c"/".as_ptr(), none, private, none.cast()))?;
        let (kind, run) = (c"tmpfs".as_ptr(), c"/run".as_ptr());
        check(libc::mount(kind, run, kind, 0, none.cast()))?;
    }
    Ok(())
}

/// Mounts a file on another.
pub fn bind(from: &Path, to: &Path) -> io::Result<()> {
    File::create(to)?;
    let from = CString::new(from.as_os_str().as_encoded_bytes())?;
    let to = CString::new(to.as_os_str().as_encoded_bytes())?;
    let none = std::ptr::null();
    // SAFETY: the pointers are null or to C strings.
    check(unsafe { libc::mount(from.as_ptr(), to.as_ptr(), none, libc::MS_BIND, none.cast()) })?;
    Ok(())
}

/// Makes the calling thread an ordinary user's, with no capability.
pub fn drop_rights() -> io::Result<()> {
    let nobody = 65534;
    // The C library's function would change every thread.
    // SAFETY: no pointer is passed.
    let result = unsafe { libc::syscall(libc::SYS_setresuid, nobody, nobody, nobody) };
    check(result as libc::c_int)?;
    Ok(())
}
