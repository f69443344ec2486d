//! The owners that are known from transitions, each once: connections share them.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::event::Task;
use crate::types::{Owner, OwnerSource, SharedOwner};

/// The most distinct owners that are kept. Beyond that the collection starts anew; the connections
/// keep theirs.
const MAX_OWNERS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Owners {
    hasher: RandomState,
    known: HashTable<SharedOwner>,
}

impl Owners {
    /// Returns the owner for a task; `None` without a task.
    pub fn find_or_add(&mut self, task: Option<&Task>, source: OwnerSource) -> Option<SharedOwner> {
        let task = task?;
        let thread = task.thread;
        let hash = self.hasher.hash_one((task.pid, task.uid, source, thread));
        let is = |owner: &SharedOwner| {
            (owner.pid, owner.uid, owner.source) == (task.pid, task.uid, source)
                && (owner.cgroup, owner.thread) == (task.cgroup, thread)
                && has_name(task, &owner.comm)
        };
        if let Some(owner) = self.known.find(hash, is) {
            return Some(owner.clone());
        }
        if self.known.len() >= MAX_OWNERS {
            self.known.clear();
        }
        let owner = SharedOwner::new(Owner {
            pid: task.pid,
            uid: task.uid,
            cgroup: task.cgroup,
            comm: task.name().into(),
            source,
            thread,
        });
        let hasher = &self.hasher;
        self.known.insert_unique(hash, owner.clone(), |owner| {
            hasher.hash_one((owner.pid, owner.uid, owner.source, owner.thread))
        });
        Some(owner)
    }
}

/// Returns whether the task's name without its padding, which may be anything behind a NUL, is this
/// one.
fn has_name(task: &Task, name: &[u8]) -> bool {
    let rest = task.comm.strip_prefix(name);
    rest.is_some_and(|rest| rest.first().is_none_or(|&byte| byte == 0))
}

#[cfg(test)]
mod tests {
    use super::{MAX_OWNERS, Owners};
    use crate::event::Task;
    use crate::types::OwnerSource::{Close, Connect};
    use crate::types::{CgroupId, Thread};

    fn task(pid: u32) -> Option<Task> {
        Some(Task {
            pid,
            uid: 1,
            cgroup: CgroupId::new(2),
            comm: *b"name\0\0\0\0\0\0\0\0\0\0\0\0",
            exits: None,
            thread: None,
        })
    }

    #[test]
    fn the_same_owner_is_one_object() {
        let mut owners = Owners::default();
        let mut owner_address = |task: Option<Task>, source| {
            owners
                .find_or_add(task.as_ref(), source)
                .map(|owner| std::sync::Arc::as_ptr(&owner))
        };
        let first = owner_address(task(7), Close);
        assert_eq!(owner_address(task(7), Close), first);
        assert_ne!(owner_address(task(7), Connect), first);
        assert_ne!(owner_address(task(8), Close), first);
        assert_eq!(owner_address(None, Close), None);
    }

    #[test]
    fn each_thread_that_connects_is_another_owner() {
        let mut owners = Owners::default();
        let mut owner_of = |thread: Option<Thread>| {
            let task = task(7).map(|task| Task { thread, ..task });
            let owner = owners.find_or_add(task.as_ref(), Connect);
            owner.map(|owner| (std::sync::Arc::as_ptr(&owner), owner.thread))
        };
        let thread = |id, name: &[u8; 16]| Some(Thread { id, comm: *name });
        let threads = [
            None,
            thread(7, b"name\0\0\0\0\0\0\0\0\0\0\0\0"),
            thread(8, b"pool-1\0\0\0\0\0\0\0\0\0\0"),
            thread(8, b"renamed\0\0\0\0\0\0\0\0\0"),
        ];
        let all: Vec<_> = threads.iter().map(|thread| owner_of(*thread)).collect();
        for (place, (owner, thread)) in all.iter().zip(threads).enumerate() {
            assert_eq!(owner.map(|(_, thread)| thread), Some(thread));
            assert_eq!(owner_of(thread), *owner, "it is known");
            assert!(!all[..place].contains(owner));
        }
    }

    #[test]
    fn no_more_are_remembered_than_that() {
        let mut owners = Owners::default();
        for pid in 0..2 * MAX_OWNERS as u32 {
            owners.find_or_add(task(pid).as_ref(), Close);
        }
        assert!(owners.known.len() <= MAX_OWNERS);
        let owner = owners
            .find_or_add(task(7).as_ref(), Close)
            .expect("there is a task");
        assert_eq!(
            (&*owner.comm, owner.cgroup),
            (&b"name"[..], CgroupId::new(2))
        );
    }
}
