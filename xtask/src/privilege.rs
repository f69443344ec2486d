//! Whether this user is root, and how to start programs as root.

use std::{
    fs,
    io::{self, IsTerminal as _},
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use crate::command::{find_program, succeeds};

/// How this user becomes root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// This user is root.
    Root,
    /// sudo works without a question.
    Sudo,
    /// There is a sudo that asks for a password.
    SudoAsks,
    /// This user is not root, and there is no sudo.
    None,
}

impl Privilege {
    /// Finds out without asking for a password.
    pub fn detect() -> Self {
        // The owner of a process's directory in /proc is its effective user.
        if fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0) {
            return Self::Root;
        }
        if find_program("sudo").is_none() {
            return Self::None;
        }
        if succeeds(Command::new("sudo").args(["-n", "true"])) {
            Self::Sudo
        } else {
            Self::SudoAsks
        }
    }

    /// Returns whether a program can be started as root now; sudo may ask for its password where
    /// there is a terminal.
    pub fn can_start_programs(self) -> bool {
        match self {
            Self::Root | Self::Sudo => true,
            Self::SudoAsks => io::stdin().is_terminal(),
            Self::None => false,
        }
    }

    /// `program`, to be started as root with no question asked; `None` where that cannot be.
    pub fn unattended(self, program: &str) -> Option<Command> {
        match self {
            Self::Root => Some(Command::new(program)),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.args(["-n", "--", program]);
                Some(command)
            }
            Self::SudoAsks | Self::None => None,
        }
    }
}
