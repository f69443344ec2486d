//! Runs a test machine in qemu.

use std::{
    cell::Cell,
    env,
    ffi::OsString,
    fmt,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::platform::Platform;
use crate::{
    apt::Apt,
    arch::Arch,
    command::{announce, find_program},
    privilege::Privilege,
};

/// More than an emulated machine needs for all tests, on a host that is busy otherwise too; only
/// one that hangs takes so long.
pub const TIME_LIMIT: Duration = Duration::from_secs(30 * 60);
/// A machine that the processor itself runs has started its first program long before.
const KVM_BOOT_TIMEOUT: Duration = Duration::from_secs(8);
const KVM_DEVICE: &str = "/dev/kvm";

/// How qemu runs the machine's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor does it.
    Kvm,
    /// qemu translates it.
    Emulation,
}

impl Accelerator {
    /// The best that this host seems to offer for machines of an architecture.
    fn best(arch: Arch) -> Self {
        let may_use_kvm = OpenOptions::new()
            .read(true)
            .write(true)
            .open(KVM_DEVICE)
            .is_ok();
        if may_use_kvm && arch.is_native() {
            Self::Kvm
        } else {
            Self::Emulation
        }
    }

    fn argument(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            // With a thread for each CPU, one may run into the int3 of a tracepoint that the other
            // has patched by then, and the kernel dies of it.
            Self::Emulation => "tcg,thread=single",
        }
    }
}

/// Shown where the user waits.
impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "with KVM",
            Self::Emulation => "emulated",
        })
    }
}

/// How a machine ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// It switched itself off, or its kernel panicked.
    Off,
    /// It was switched off at [`TIME_LIMIT`].
    TimeLimit,
    /// qemu failed.
    Failed(ExitStatus),
}

/// A machine's files.
pub struct Machine<'a> {
    /// The kernel.
    pub image: &'a Path,
    /// Its root file system.
    pub initramfs: &'a Path,
    /// Where the console's log and the results go.
    pub directory: &'a Path,
}

impl Machine<'_> {
    /// The kernel's messages.
    pub fn console(&self) -> PathBuf {
        self.directory.join("console.log")
    }

    /// The output of the tests.
    pub fn results(&self) -> PathBuf {
        self.directory.join("results.log")
    }

    /// qemu's own messages.
    fn messages(&self) -> PathBuf {
        self.directory.join("qemu.log")
    }
}

/// qemu on this host.
pub struct Qemu {
    platform: Platform,
    program: PathBuf,
    /// Where it finds libraries, besides the host's own.
    libraries: OsString,
    accelerator: Cell<Accelerator>,
}

impl Qemu {
    /// The host's for an architecture, or Debian's, unpacked into a folder of `directory`.
    pub fn find_or_fetch(arch: Arch, directory: &Path) -> Result<Self> {
        let platform = Platform::for_arch(arch);
        let accelerator = Accelerator::best(arch).into();
        if let Some(program) = find_program(platform.program) {
            return Ok(Self {
                platform,
                program,
                libraries: OsString::new(),
                accelerator,
            });
        }
        let directory = directory.join(platform.package);
        if !directory.exists() {
            let fetched = Apt::find(Privilege::detect())
                .map_err(anyhow::Error::msg)
                .and_then(|apt| apt.unpack(platform.package, &directory));
            fetched.with_context(|| {
                format!(
                    "there is no {} here (Debian's package: {})",
                    platform.program, platform.package
                )
            })?;
        }
        // qemu finds its own data beside its program.
        let libraries = ["usr/lib", "lib"].map(|folder| {
            let folder = directory.join(folder);
            folder.join(format!("{}-linux-gnu", env::consts::ARCH))
        });
        Ok(Self {
            program: directory.join("usr/bin").join(platform.program),
            libraries: env::join_paths(libraries).context("the checkout's path has a colon")?,
            platform,
            accelerator,
        })
    }

    /// How machines are run, as far as is known.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator.get()
    }

    /// Runs the machine until it switches itself off.
    pub fn run(&self, machine: &Machine) -> Result<Ending> {
        if self.accelerator.get() == Accelerator::Kvm {
            let mut child = self.start(machine)?;
            // A KVM inside a machine that is virtual itself may be there and never get a kernel to
            // start.
            wait(&mut child, KVM_BOOT_TIMEOUT, || {
                has_text(&machine.results()) || has_text(&machine.messages())
            })?;
            if has_text(&machine.results()) {
                return finish(child);
            }
            stop(&mut child)?;
            announce(format_args!(
                "vm-test: {KVM_DEVICE} is here and starts no kernel: emulating"
            ));
            self.accelerator.set(Accelerator::Emulation);
        }
        finish(self.start(machine)?)
    }

    fn start(&self, machine: &Machine) -> Result<Child> {
        // Nothing of an earlier run may be taken for this one's.
        let create = |file: &Path| {
            File::create(file).with_context(|| format!("cannot write {}", file.display()))
        };
        create(&machine.console())?;
        create(&machine.results())?;
        let messages = create(&machine.messages())?;
        let accelerator = self.accelerator.get();
        let mut command = Command::new(&self.program);
        if !self.libraries.is_empty() {
            command.env("LD_LIBRARY_PATH", &self.libraries);
        }
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-accel", accelerator.argument()])
            .args(self.platform.machine(accelerator == Accelerator::Emulation))
            .args(["-smp", "2", "-m", "1G", "-no-reboot"])
            .arg("-kernel")
            .arg(machine.image)
            .arg("-initrd")
            .arg(machine.initramfs)
            .args(["-append", &self.platform.kernel_arguments()])
            .args(self.platform.ports(&machine.console(), &machine.results()))
            .stdin(Stdio::null())
            .stderr(messages);
        command
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}

fn finish(mut child: Child) -> Result<Ending> {
    if !wait(&mut child, TIME_LIMIT, || false)? {
        stop(&mut child)?;
        return Ok(Ending::TimeLimit);
    }
    let status = child.wait().context("cannot wait for qemu")?;
    Ok(if status.success() {
        Ending::Off
    } else {
        Ending::Failed(status)
    })
}

/// Waits until qemu has ended, or `enough`. Returns whether that was before the time was over.
fn wait(child: &mut Child, limit: Duration, enough: impl Fn() -> bool) -> Result<bool> {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if child.try_wait().context("cannot wait for qemu")?.is_some() || enough() {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(false)
}

fn stop(child: &mut Child) -> Result<()> {
    child.kill().context("cannot stop qemu")?;
    child.wait().context("cannot wait for qemu")?;
    Ok(())
}

fn has_text(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(seconds: &str) -> Child {
        Command::new("sleep").arg(seconds).spawn().unwrap()
    }

    #[test]
    fn waiting_ends_with_the_machine_or_when_it_is_enough_or_at_the_limit() {
        let second = Duration::from_secs(1);
        assert!(wait(&mut sleeper("0"), 30 * second, || false).unwrap());
        let mut child = sleeper("30");
        assert!(wait(&mut child, 30 * second, || true).unwrap());
        assert!(!wait(&mut child, second / 10, || false).unwrap());
        stop(&mut child).unwrap();
    }

    #[test]
    fn a_failing_qemu_is_not_a_shutdown() {
        let failing = Command::new("sh").args(["-c", "exit 3"]).spawn().unwrap();
        let ending = finish(failing).unwrap();
        assert!(matches!(ending, Ending::Failed(status) if status.code() == Some(3)));
        assert_eq!(finish(sleeper("0")).unwrap(), Ending::Off);
    }
}
