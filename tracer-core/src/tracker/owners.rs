//! The owners that are known from transitions, each once: connections share them.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::event::Task;
use crate::types::{Owner, OwnerSource, SharedOwner};

/// Distinct owners remembered at most. Beyond that the memory starts anew; the connections keep
/// theirs.
const REMEMBERED: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Owners {
    hasher: RandomState,
    known: HashTable<SharedOwner>,
}

impl Owners {
    /// The owner that a task is; none without a task.
    pub fn of(&mut self, task: Option<&Task>, source: OwnerSource) -> Option<SharedOwner> {
        let task = task?;
        let hash = self.hasher.hash_one((task.pid, task.uid, source));
        let is = |owner: &SharedOwner| {
            (owner.pid, owner.uid, owner.source) == (task.pid, task.uid, source)
                && owner.cgroup == task.cgroup
                && has_name(task, &owner.comm)
        };
        if let Some(owner) = self.known.find(hash, is) {
            return Some(owner.clone());
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let mut names = task.comm.split(|&byte| byte == 0);
        let owner = SharedOwner::new(Owner {
            pid: task.pid,
            uid: task.uid,
            cgroup: task.cgroup,
            comm: names.next().unwrap_or_default().into(),
            source,
        });
        let hasher = &self.hasher;
        self.known.insert_unique(hash, owner.clone(), |owner| {
            hasher.hash_one((owner.pid, owner.uid, owner.source))
        });
        Some(owner)
    }
}

/// Whether the task's name without its padding, which may be anything behind a NUL, is this one.
fn has_name(task: &Task, name: &[u8]) -> bool {
    let rest = task.comm.strip_prefix(name);
    rest.is_some_and(|rest| rest.first().is_none_or(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use super::{Owners, REMEMBERED};
    use crate::event::Task;
    use crate::types::CgroupId;
    use crate::types::OwnerSource::{Close, Connect};

    fn task(pid: u32) -> Option<Task> {
        Some(Task {
            pid,
            uid: 1,
            cgroup: CgroupId::new(2),
            comm: *b"name\0\0\0\0\0\0\0\0\0\0\0\0",
            exits: None,
        })
    }

    #[test]
    fn the_same_owner_is_one_object() {
        let mut owners = Owners::default();
        let mut of = |task: Option<Task>, source| {
            owners
                .of(task.as_ref(), source)
                .map(|owner| owner.as_ref() as *const _)
        };
        let first = of(task(7), Close);
        assert_eq!(of(task(7), Close), first);
        assert_ne!(of(task(7), Connect), first);
        assert_ne!(of(task(8), Close), first);
        assert_eq!(of(None, Close), None);
    }

    #[test]
    fn no_more_are_remembered_than_that() {
        let mut owners = Owners::default();
        for pid in 0..2 * REMEMBERED as u32 {
            owners.of(task(pid).as_ref(), Close);
        }
        assert!(owners.known.len() <= REMEMBERED);
        let owner = owners.of(task(7).as_ref(), Close).expect("there is a task");
        assert_eq!(
            (&*owner.comm, owner.cgroup),
            (&b"name"[..], CgroupId::new(2))
        );
    }
}
