//! Roots to install into.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use tcpclose_kit::TestResult;
use tcpclose_kit::mounts::{bind_tree, enter_new_mounts, mount_overlay, mount_tmpfs};
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::scratch::Scratch;

/// A folder that programs take for the root of all files.
pub struct Root(PathBuf);

impl Root {
    /// Runs a test with a copy of this host's root, of which nothing is running, in network and
    /// mount namespaces of its own.
    pub fn like_this_host(test: impl FnOnce(&Root) -> TestResult + Send) -> TestResult {
        within(|scratch| {
            // The changes of an overlay of / cannot be below / itself.
            mount_tmpfs(scratch, c"")?;
            let root = scratch.join("root");
            mount_overlay(Path::new("/"), scratch, &root)?;
            let root = Self(root);
            bind_tree(Path::new("/dev"), &root.path("dev"))?;
            root.mount_kernel()?;
            for folder in ["run", "tmp"] {
                mount_tmpfs(&root.path(folder), c"")?;
            }
            test(&root)
        })
    }

    /// Runs a test with an overlay of a folder.
    pub fn like(folder: &Path, test: impl FnOnce(&Root) -> TestResult + Send) -> TestResult {
        within(|scratch| {
            mount_tmpfs(scratch, c"")?;
            let root = scratch.join("root");
            mount_overlay(folder, scratch, &root)?;
            let root = Self(root);
            root.mount_kernel()?;
            test(&root)
        })
    }

    /// Runs a test with an empty root, but for the kernel's own file systems.
    pub fn empty(test: impl FnOnce(&Root) -> TestResult + Send) -> TestResult {
        within(|scratch| {
            let root = Self(scratch.join("root"));
            fs::create_dir(root.folder())?;
            mount_tmpfs(root.folder(), c"")?;
            root.mount_kernel()?;
            test(&root)
        })
    }

    fn mount_kernel(&self) -> io::Result<()> {
        for folder in ["proc", "sys"] {
            bind_tree(&Path::new("/").join(folder), &self.path(folder))?;
        }
        Ok(())
    }

    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The path outside of what is `name` inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name.trim_start_matches('/'))
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    pub fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.path(name))
    }

    pub fn write(&self, name: &str, text: &str) -> io::Result<()> {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder"))?;
        fs::write(path, text)
    }

    /// A command that starts inside.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("chroot");
        command
            .arg(&self.0)
            .arg(program)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C");
        command
    }
}

fn within(test: impl FnOnce(&Path) -> TestResult + Send) -> TestResult {
    // Removed where nothing of what the test mounts in it is to be seen: /dev must not go with it.
    let scratch = Scratch::new();
    in_own_network(|_| {
        enter_new_mounts()?;
        test(scratch.folder())
    })
}
