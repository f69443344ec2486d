//! Datagrams of sock_diag.

use tcpclose_sys::fuzzing::{NetlinkBody, NetlinkMessages, attributes, socket};

/// Takes a datagram apart, and each of its messages as a socket.
pub fn netlink(data: &[u8]) {
    /// Length of `struct nlmsghdr`.
    const HEADER_SIZE: usize = 16;
    /// Length of `struct nlattr`.
    const ATTRIBUTE_SIZE: usize = 4;
    /// Length of `struct inet_diag_msg`.
    const SOCKET_SIZE: usize = 72;

    let mut used = 0;
    let mut ended = false;
    for message in NetlinkMessages::new(data) {
        assert!(!ended, "a message behind one that cannot be understood");
        let Ok(message) = message else {
            ended = true;
            continue;
        };
        used += HEADER_SIZE;
        match message.body {
            NetlinkBody::Data(_, payload) => {
                used += payload.len();
                if let Some(socket) = socket(payload) {
                    assert!(payload.len() >= SOCKET_SIZE);
                    let bare =
                        self::socket(&payload[..SOCKET_SIZE]).expect("the fixed part is enough");
                    assert_eq!((bare.id, bare.tuple), (socket.id, socket.tuple));
                    assert_eq!((bare.cgroup, bare.info), (None, None));
                }
            }
            NetlinkBody::Done(errno) | NetlinkBody::Error(errno) => assert!(errno >= 0),
            NetlinkBody::Overrun | NetlinkBody::Noop => {}
        }
    }
    assert!(used <= data.len(), "more than was received");

    let of_attributes = attributes(data).map(|(_, value)| ATTRIBUTE_SIZE + value.len());
    assert!(of_attributes.sum::<usize>() <= data.len());
    let _ = socket(data);
}
