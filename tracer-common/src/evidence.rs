//! What a socket shows of its connection: the part of a transition's record that the core keeps as
//! it is. The eBPF programs fill it, and recordings hold it.

use core::mem::{align_of, offset_of, size_of};

use crate::flags;

/// Fields of `struct tcp_sock`, and of the `struct sock` that it begins with. Where a field does
/// not have the kernel's name, its description does.
///
/// Sequence numbers are the absolute ones of the wire. What readable formats (JSON) may leave out
/// has a default. Recordings hold the fields in this order, so a change is a new version of their
/// format.
#[derive(Clone, Copy)]
#[cfg_attr(
    feature = "user",
    derive(
        Debug,
        Default,
        PartialEq,
        Eq,
        bytemuck::Pod,
        bytemuck::Zeroable,
        serde::Serialize,
        serde::Deserialize
    )
)]
#[repr(C)]
pub struct TcpFields {
    /// First sequence number sent and not yet acknowledged.
    pub snd_una: u32,
    /// Next sequence number to send.
    pub snd_nxt: u32,
    /// Sequence number behind all that the application has written.
    pub write_seq: u32,
    /// Next sequence number expected from the peer.
    pub rcv_nxt: u32,
    /// Bytes that the peer accepts from `snd_una` on.
    pub snd_wnd: u32,
    /// Sequence number of the segment whose ACK last moved `snd_una` or the window (RFC 9293's
    /// SND.WL1).
    pub snd_wl1: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Sequence space acknowledged by the peer (counts FIN, and the SYN of an active open).
    pub bytes_acked: u64,
    /// Sequence space received (counts FIN).
    pub bytes_received: u64,
    /// `sk_err`, an errno.
    pub error: u16,
    /// Segments that came out of order (`rcv_ooopack`), at most 65,535.
    pub out_of_order: u16,
    /// Segments sent again in the whole life of the connection (`total_retrans`).
    pub retransmits: u32,
    /// Milliseconds since data was last sent, for the first time or again, plus one (`lsndtime`);
    /// 0 where that is not known. Counts from ESTABLISHED on. With [`flags::FIN_SENT_TIME`] it is
    /// about the FIN, in microseconds (`first_tx_mstamp`).
    #[cfg_attr(feature = "user", serde(default))]
    pub sent_ms_ago: u32,
    /// Milliseconds since data was last received in order, plus one (`icsk_ack.lrcvtime`); 0 where
    /// that is not known. Counts from ESTABLISHED on.
    #[cfg_attr(feature = "user", serde(default))]
    pub received_ms_ago: u32,
}

const _: () = {
    assert!(size_of::<TcpFields>() == 64);
    assert!(align_of::<TcpFields>() == 8);
    assert!(offset_of!(TcpFields, bytes_acked) == 32);
    assert!(offset_of!(TcpFields, error) == 48);
    // The last field ends where the structure ends: no padding anywhere.
    assert!(offset_of!(TcpFields, received_ms_ago) + 4 == size_of::<TcpFields>());
};

macro_rules! socket_flags {
    ($($name:ident = $bit:ident,)*) => {
        /// The bits of a transition's [`flags`] that describe the socket, each as a `bool`.
        ///
        /// Readable formats (JSON) have them by name; those that are missing are not set. `remote`
        /// makes that form a function, which the trait of the module `recorded` calls.
        #[derive(Clone, Copy)]
        #[cfg_attr(
            feature = "user",
            derive(Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize),
            serde(default, remote = "Self")
        )]
        pub struct SocketFlags {
            $(#[doc = concat!("[`flags::", stringify!($bit), "`]")] pub $name: bool,)*
        }

        impl SocketFlags {
            /// Takes the flags of a record; other bits have no effect.
            #[must_use]
            pub const fn from_bits(bits: u32) -> Self {
                Self { $($name: bits & flags::$bit != 0,)* }
            }

            /// Returns the flags as bits of a record.
            #[must_use]
            pub const fn bits(self) -> u32 {
                0 $(| if self.$name { flags::$bit } else { 0 })*
            }
        }
    };
}

socket_flags! {
    dead = SOCK_DEAD,
    done = SOCK_DONE,
    fin_without_data = FIN_WITHOUT_DATA,
    unread = UNREAD,
    no_socket = NO_SOCKET,
    lock_owned = LOCK_OWNED,
    linger_zero = LINGER_ZERO,
    timestamps = TIMESTAMPS,
    saw_timestamp = SAW_TIMESTAMP,
    repair = REPAIR,
    fin_out_of_order = FIN_OUT_OF_ORDER,
    backlog = BACKLOG,
    fin_ack_differs = FIN_ACK_DIFFERS,
    peer_saw_silence = PEER_SAW_SILENCE,
    fin_sent_time = FIN_SENT_TIME,
}

/// The form of recordings: flags in a byte each, then those from [`flags::REPAIR`] on in one byte.
/// Format 2 had only that flag there, as 0 or 1, and is read in the same way. A further flag is a
/// new version of their format; there is room for two.
#[cfg(feature = "user")]
mod recorded {
    use super::SocketFlags;
    use crate::flags;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// The flags with a byte of their own, in the order of the bytes.
    const IN_BYTES: [u32; 9] = [
        flags::SOCK_DEAD,
        flags::SOCK_DONE,
        flags::FIN_WITHOUT_DATA,
        flags::UNREAD,
        flags::NO_SOCKET,
        flags::LOCK_OWNED,
        flags::LINGER_ZERO,
        flags::TIMESTAMPS,
        flags::SAW_TIMESTAMP,
    ];
    /// The flags that share the last byte begin with this one.
    const FIRST_IN_LAST_BYTE: u32 = flags::REPAIR.trailing_zeros();

    impl Serialize for SocketFlags {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if serializer.is_human_readable() {
                return Self::serialize(self, serializer);
            }
            let bits = self.bits();
            let in_bytes = IN_BYTES.map(|flag| bits & flag != 0);
            (in_bytes, (bits >> FIRST_IN_LAST_BYTE) as u8).serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for SocketFlags {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            if deserializer.is_human_readable() {
                return Self::deserialize(deserializer);
            }
            let (in_bytes, last) = <([bool; 9], u8)>::deserialize(deserializer)?;
            let mut bits = u32::from(last) << FIRST_IN_LAST_BYTE;
            for (flag, is_set) in IN_BYTES.into_iter().zip(in_bytes) {
                bits |= if is_set { flag } else { 0 };
            }
            Ok(Self::from_bits(bits))
        }
    }
}

#[cfg(all(test, feature = "user"))]
mod tests {
    use super::SocketFlags;
    use crate::flags;

    #[test]
    fn flags_survive_the_way_through_a_record() {
        let socket = flags::SOCK_DEAD
            | flags::SOCK_DONE
            | flags::FIN_WITHOUT_DATA
            | flags::UNREAD
            | flags::NO_SOCKET
            | flags::LOCK_OWNED
            | flags::LINGER_ZERO
            | flags::TIMESTAMPS
            | flags::SAW_TIMESTAMP
            | flags::REPAIR
            | flags::FIN_OUT_OF_ORDER
            | flags::BACKLOG
            | flags::FIN_ACK_DIFFERS
            | flags::PEER_SAW_SILENCE
            | flags::FIN_SENT_TIME;
        assert_eq!(SocketFlags::from_bits(u32::MAX).bits(), socket);
        for bit in (0..32).map(|bit| 1 << bit) {
            assert_eq!(SocketFlags::from_bits(bit).bits(), bit & socket);
        }
        assert!(SocketFlags::from_bits(flags::REPAIR).repair);
        assert!(!SocketFlags::from_bits(!flags::SOCK_DEAD).dead);
    }
}
