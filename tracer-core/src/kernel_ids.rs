//! Numbers by which the kernel identifies objects. The kernel counts from 1 and writes 0 for "none"
//! or "not known", which is the `None` of an `Option` here. The `Option` takes no more memory than
//! the number.

use std::fmt;
use std::num::NonZero;

use serde::{Deserialize, Serialize};

/// A kernel number that is never 0.
pub(crate) trait KernelId: Copy {
    /// The number as the kernel's records have it.
    type Raw;

    /// The id with this number, `None` for 0.
    fn from_raw(number: Self::Raw) -> Option<Self>;

    /// The number, 0 for `None`.
    fn to_raw(id: Option<Self>) -> Self::Raw;
}

macro_rules! kernel_ids {
    ($($(#[$doc:meta])* $name:ident($raw:ty);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub struct $name(NonZero<$raw>);

        impl $name {
            /// Returns the id with this number; `None` for 0, which means "none" or "not known".
            #[must_use]
            pub const fn new(number: $raw) -> Option<Self> {
                match NonZero::new(number) {
                    Some(number) => Some(Self(number)),
                    None => None,
                }
            }

            /// Returns the number.
            #[must_use]
            pub const fn get(self) -> $raw {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl KernelId for $name {
            type Raw = $raw;

            fn from_raw(number: $raw) -> Option<Self> {
                Self::new(number)
            }

            fn to_raw(id: Option<Self>) -> $raw {
                id.map_or(0, Self::get)
            }
        }
    )*};
}

kernel_ids! {
    /// Inode number of a network namespace, as `ls -L -i /proc/PID/ns/net` prints it.
    NetNs(u32);
    /// A TCP port.
    Port(u16);
    /// Id of a cgroup of version 2: the inode number of its directory.
    CgroupId(u64);
    /// Inode number of a socket's file, as in `socket:[NUMBER]` of `/proc/PID/fd`.
    Inode(u32);
    /// Index of a network interface, as `ip link` prints it.
    InterfaceIndex(u32);
    /// Address of a socket in the kernel's memory (`struct sock *`).
    SocketAddress(u64);
    /// When a process started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    StartTime(u64);
}

/// The serde form of `Option` of a [`KernelId`]: the number, with 0 for `None`. Recordings are
/// written so.
pub(crate) mod zero_is_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::KernelId;

    pub fn serialize<I, S>(id: &Option<I>, to: S) -> Result<S::Ok, S::Error>
    where
        I: KernelId<Raw: Serialize>,
        S: Serializer,
    {
        I::to_raw(*id).serialize(to)
    }

    pub fn deserialize<'de, I, D>(from: D) -> Result<Option<I>, D::Error>
    where
        I: KernelId<Raw: Deserialize<'de>>,
        D: Deserializer<'de>,
    {
        I::Raw::deserialize(from).map(I::from_raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Ids {
        #[serde(with = "zero_is_none")]
        netns: Option<NetNs>,
        #[serde(with = "zero_is_none")]
        port: Option<Port>,
        #[serde(with = "zero_is_none")]
        cgroup: Option<CgroupId>,
    }

    #[test]
    fn an_id_takes_no_more_memory_than_its_number() {
        assert_eq!(size_of::<Option<NetNs>>(), 4);
        assert_eq!(size_of::<Option<Port>>(), 2);
        assert_eq!(size_of::<Option<CgroupId>>(), 8);
    }

    #[test]
    fn in_a_recording_an_id_is_its_number_and_0_is_none() {
        let ids = Ids {
            netns: NetNs::new(4_026_531_840),
            port: None,
            cgroup: CgroupId::new(77),
        };
        let bytes = postcard::to_stdvec(&ids).expect("memory is writable");
        let numbers = (4_026_531_840_u32, 0_u16, 77_u64);
        assert_eq!(
            bytes,
            postcard::to_stdvec(&numbers).expect("memory is writable")
        );
        let read: Ids = postcard::from_bytes(&bytes).expect("it was just written");
        assert_eq!(
            (read.netns, read.port, read.cgroup),
            (ids.netns, None, ids.cgroup)
        );
    }
}
