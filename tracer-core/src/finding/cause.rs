//! Why a connection ended that way, from the view of one endpoint.

use serde::Deserialize;
use strum::{Display, IntoStaticStr, VariantArray};

/// The cause of an abnormal close. It is given only where the evidence proves it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Deserialize,
    Display,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The peer had closed the connection, on which no answer was due, and this host wrote to it
    /// after the peer's FIN had arrived: a RST answered.
    StaleKeepalive,
    /// The peer closed an idle connection while data of this host was on the way: the data and the
    /// peer's FIN passed each other, and a RST answered the data.
    CrossedKeepalive,
    /// connect() was answered with a RST: usually nothing listens on that port.
    Refused,
    /// ICMP or this host's routing ended connect(): no route, no such host, or a firewall that
    /// refuses by ICMP.
    Unreachable,
    /// connect() got no local port for this destination (`EADDRNOTAVAIL`; or memory for the port
    /// was missing).
    NoLocalPort,
    /// Nothing answered connect().
    ConnectTimeout,
    /// The peer answered no keepalive probe.
    KeepaliveTimeout,
    /// The peer acknowledged the local FIN, and no FIN of its own arrived before the wait in
    /// FIN_WAIT2 ended (`tcp_fin_timeout` or `TCP_LINGER2`).
    PeerNeverClosed,
    /// This host closed the socket with received data that the application had not read.
    UnreadData,
    /// This host closed the socket with `SO_LINGER` on and a time of zero.
    Linger,
    /// Data came after this host had closed both directions.
    DataAfterClose,
    /// The process exited or was killed, and its exit closed the socket: with received data that it
    /// had not read, or while the peer was still to send data.
    ProcessExited,
    /// This host closed the listening socket with the connection still in its accept queue.
    NotAccepted,
    /// `SOCK_DESTROY` on this host.
    Destroyed,
    /// Netfilter on this host dropped the RST of this host that ended the connection, or each FIN
    /// that it tried to send until the kernel gave up.
    DroppedHere,
    /// A RST came that the peer's socket did not send: it is on this host, and open after that.
    FromPath,
}
