//! How a holder came to a socket that it did not open.

use crate::types::Nanos;

/// How accurately a process's start and a socket's age can be compared: ticks of 10 ms in
/// `/proc/PID/stat`, ticks of the kernel's clock in the age, and the time of a scan.
const START_ERROR: Nanos = Nanos::from_millis(100);

/// How a process came to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Duplicate {
    /// It is a copy made by fork(), which has not called exec(): its parent has the socket under
    /// the same number.
    Forked,
    /// It runs another program than the parent that it has the socket from, under the same number:
    /// the descriptor stayed open over exec().
    Inherited,
    /// It is younger than the socket: it has inherited it, or somebody passed it.
    YoungerThanSocket,
}

/// What is known of a process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderOrigin<'a> {
    /// When it started, on the clock of ages; `None` where that is not known.
    pub started: Option<Nanos>,
    /// Whether it was made by fork() and has not called exec() since.
    pub is_forked: Option<bool>,
    /// Its descriptors of the socket.
    pub fds: &'a [u32],
    /// Its parent's descriptors of the socket, empty where that has none.
    pub parents: &'a [u32],
}

impl Duplicate {
    /// Judges a holder of a socket that is in its state since then at the latest. `None`: it may
    /// have opened the socket itself.
    #[must_use]
    pub fn judge(holder: &HolderOrigin<'_>, since: Nanos) -> Option<Self> {
        let started = holder.started?;
        if started < since + START_ERROR {
            return None;
        }
        let shares_number = holder.fds.iter().any(|fd| holder.parents.contains(fd));
        Some(match holder.is_forked {
            Some(true) if shares_number => Self::Forked,
            Some(false) if shares_number => Self::Inherited,
            Some(_) | None => Self::YoungerThanSocket,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(started: u64, is_forked: bool, parents: &[u32]) -> Option<Duplicate> {
        let holder = HolderOrigin {
            started: Some(Nanos::from_millis(started)),
            is_forked: Some(is_forked),
            fds: &[7],
            parents,
        };
        Duplicate::judge(&holder, Nanos::from_millis(1_000))
    }

    #[test]
    fn only_a_process_that_is_younger_than_the_socket_has_it_from_elsewhere() {
        assert_eq!(judge(900, true, &[7]), None);
        assert_eq!(judge(1_050, true, &[7]), None, "within the error");
        assert_eq!(judge(1_200, true, &[7]), Some(Duplicate::Forked));
        assert_eq!(judge(1_200, false, &[7]), Some(Duplicate::Inherited));
    }

    #[test]
    fn without_the_parents_descriptor_it_may_have_been_passed() {
        let younger = Some(Duplicate::YoungerThanSocket);
        assert_eq!(judge(1_200, true, &[]), younger);
        assert_eq!(judge(1_200, false, &[8]), younger);
    }
}
