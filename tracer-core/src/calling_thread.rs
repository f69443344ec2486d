//! Who called connect(), in the binary form of recordings and of the agent's answers: it stands in
//! a variant that the last field of a task or an owner did not have before. What was written before
//! there were threads is therefore read in the same way. Readable formats (JSON) have a field.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::Task;
use super::kernel_ids::zero_is_none;
use super::types::{CgroupId, Owner, OwnerSource, Thread};

/// A task or an owner.
#[derive(Serialize, Deserialize)]
struct Recorded<C, L> {
    pid: u32,
    uid: u32,
    #[serde(with = "zero_is_none")]
    cgroup: Option<CgroupId>,
    comm: C,
    last: L,
}

/// The first two are an `Option<bool>`.
#[derive(Serialize, Deserialize)]
enum RecordedExits {
    Unknown,
    Known(bool),
    WithThread(Option<bool>, Thread),
}

/// The first four are an [`OwnerSource`].
#[derive(Serialize, Deserialize)]
enum RecordedSource {
    Connect,
    Close,
    Listen,
    Proc,
    WithThread(OwnerSource, Thread),
}

impl From<(Option<bool>, Option<Thread>)> for RecordedExits {
    fn from((exits, thread): (Option<bool>, Option<Thread>)) -> Self {
        match (exits, thread) {
            (exits, Some(thread)) => Self::WithThread(exits, thread),
            (Some(exits), None) => Self::Known(exits),
            (None, None) => Self::Unknown,
        }
    }
}

impl From<RecordedExits> for (Option<bool>, Option<Thread>) {
    fn from(last: RecordedExits) -> Self {
        match last {
            RecordedExits::Unknown => (None, None),
            RecordedExits::Known(exits) => (Some(exits), None),
            RecordedExits::WithThread(exits, thread) => (exits, Some(thread)),
        }
    }
}

impl From<(OwnerSource, Option<Thread>)> for RecordedSource {
    fn from((source, thread): (OwnerSource, Option<Thread>)) -> Self {
        match (source, thread) {
            (source, Some(thread)) => Self::WithThread(source, thread),
            (OwnerSource::Connect, None) => Self::Connect,
            (OwnerSource::Close, None) => Self::Close,
            (OwnerSource::Listen, None) => Self::Listen,
            (OwnerSource::Proc, None) => Self::Proc,
        }
    }
}

impl From<RecordedSource> for (OwnerSource, Option<Thread>) {
    fn from(last: RecordedSource) -> Self {
        match last {
            RecordedSource::Connect => (OwnerSource::Connect, None),
            RecordedSource::Close => (OwnerSource::Close, None),
            RecordedSource::Listen => (OwnerSource::Listen, None),
            RecordedSource::Proc => (OwnerSource::Proc, None),
            RecordedSource::WithThread(source, thread) => (source, Some(thread)),
        }
    }
}

impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Self::serialize(self, serializer);
        }
        let recorded = Recorded {
            pid: self.pid,
            uid: self.uid,
            cgroup: self.cgroup,
            comm: self.comm,
            last: RecordedExits::from((self.exits, self.thread)),
        };
        recorded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Self::deserialize(deserializer);
        }
        let recorded = Recorded::<_, RecordedExits>::deserialize(deserializer)?;
        let (exits, thread) = recorded.last.into();
        Ok(Self {
            pid: recorded.pid,
            uid: recorded.uid,
            cgroup: recorded.cgroup,
            comm: recorded.comm,
            exits,
            thread,
        })
    }
}

impl Serialize for Owner {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return Self::serialize(self, serializer);
        }
        let recorded = Recorded {
            pid: self.pid,
            uid: self.uid,
            cgroup: self.cgroup,
            comm: &self.comm,
            last: RecordedSource::from((self.source, self.thread)),
        };
        recorded.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Owner {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return Self::deserialize(deserializer);
        }
        let recorded = Recorded::<_, RecordedSource>::deserialize(deserializer)?;
        let (source, thread) = recorded.last.into();
        Ok(Self {
            pid: recorded.pid,
            uid: recorded.uid,
            cgroup: recorded.cgroup,
            comm: recorded.comm,
            source,
            thread,
        })
    }
}

#[cfg(test)]
mod tests {
    use tcpclose_common::COMM_LEN;

    use super::*;

    const COMM: [u8; COMM_LEN] = *b"java\0\0\0\0\0\0\0\0\0\0\0\0";
    const THREAD: Thread = Thread {
        id: 4712,
        comm: *b"http-pool-3\0\0\0\0\0",
    };

    fn written(value: &impl Serialize) -> Vec<u8> {
        postcard::to_stdvec(value).expect("memory is writable")
    }

    fn task(exits: Option<bool>, thread: Option<Thread>) -> Task {
        Task {
            pid: 4711,
            uid: 1000,
            cgroup: CgroupId::new(7),
            comm: COMM,
            exits,
            thread,
        }
    }

    fn owner(source: OwnerSource, thread: Option<Thread>) -> Owner {
        Owner {
            pid: 4711,
            uid: 1000,
            cgroup: CgroupId::new(7),
            comm: b"java"[..].into(),
            source,
            thread,
        }
    }

    #[test]
    fn without_a_thread_the_bytes_are_those_of_before() {
        for exits in [None, Some(false), Some(true)] {
            let before = written(&(4711_u32, 1000_u32, 7_u64, COMM, exits));
            assert_eq!(written(&task(exits, None)), before);
        }
        for source in [
            OwnerSource::Connect,
            OwnerSource::Close,
            OwnerSource::Listen,
            OwnerSource::Proc,
        ] {
            let before = written(&(4711_u32, 1000_u32, 7_u64, &b"java"[..], source));
            assert_eq!(written(&owner(source, None)), before);
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for thread in [None, Some(THREAD)] {
            for exits in [None, Some(false), Some(true)] {
                let task = task(exits, thread);
                assert_eq!(postcard::from_bytes(&written(&task)), Ok(task));
                let json = serde_json::to_string(&task).expect("it has a readable form");
                assert_eq!(serde_json::from_str::<Task>(&json).ok(), Some(task));
            }
            for source in [OwnerSource::Connect, OwnerSource::Proc] {
                let owner = owner(source, thread);
                assert_eq!(postcard::from_bytes(&written(&owner)), Ok(owner.clone()));
                let json = serde_json::to_string(&owner).expect("it has a readable form");
                assert_eq!(serde_json::from_str::<Owner>(&json).ok(), Some(owner));
            }
        }
    }

    #[test]
    fn a_readable_form_may_leave_the_thread_out() {
        let json = serde_json::to_string(&task(None, None)).expect("it has a readable form");
        let without = json.replace(r#","thread":null"#, "");
        assert!(!without.contains("thread"), "{without}");
        assert_eq!(
            serde_json::from_str::<Task>(&without).ok(),
            Some(task(None, None))
        );
    }
}
