//! Datagrams of sock_diag.

use tcpclose_sys::fuzzing::{NetlinkBody, NetlinkMessages, attributes, socket};

/// Takes a datagram apart, and each of its messages as a socket.
pub fn netlink(data: &[u8]) {
    /// Length of `struct nlmsghdr`.
    const HEADER: usize = 16;
    /// Length of `struct nlattr`.
    const ATTRIBUTE: usize = 4;
    /// Length of `struct inet_diag_msg`.
    const SOCKET: usize = 72;

    let mut used = 0;
    let mut ended = false;
    for message in NetlinkMessages::of(data) {
        assert!(!ended, "a message behind one that cannot be understood");
        let Ok(message) = message else {
            ended = true;
            continue;
        };
        used += HEADER;
        match message.body {
            NetlinkBody::Data(_, payload) => {
                used += payload.len();
                if let Some(socket) = socket(payload) {
                    assert!(payload.len() >= SOCKET);
                    let bare = self::socket(&payload[..SOCKET]).expect("the fixed part is enough");
                    assert_eq!((bare.id, bare.tuple), (socket.id, socket.tuple));
                    assert_eq!((bare.cgroup, bare.info), (None, None));
                }
            }
            NetlinkBody::Done(errno) | NetlinkBody::Error(errno) => assert!(errno >= 0),
            NetlinkBody::Overrun | NetlinkBody::Noop => {}
        }
    }
    assert!(used <= data.len(), "more than was received");

    let of_attributes = attributes(data).map(|(_, value)| ATTRIBUTE + value.len());
    assert!(of_attributes.sum::<usize>() <= data.len());
    let _ = socket(data);
}
