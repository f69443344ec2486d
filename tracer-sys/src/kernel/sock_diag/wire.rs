//! Numbers of the kernel's headers that requests and answers share.

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`: the type of requests and of answers.
pub(super) const SOCK_DIAG_BY_FAMILY: u16 = 20;

/// `SOCK_DESTROY` of `linux/sock_diag.h`: the type of the request that destroys a socket.
pub(super) const SOCK_DESTROY: u16 = 21;

/// `TCPDIAG_GETSOCK` of `linux/inet_diag.h`: the type of the older request
/// (`struct inet_diag_req`), and of its answers.
pub(super) const TCPDIAG_GETSOCK: u16 = 18;

/// `INET_DIAG_INFO` of `linux/inet_diag.h`: the attribute with `struct tcp_info`.
pub(super) const INET_DIAG_INFO: u16 = 2;

/// `INET_DIAG_ULP_INFO` of `linux/inet_diag.h`: the attribute with the upper layer's name.
pub(super) const INET_DIAG_ULP_INFO: u16 = 19;

/// `INET_DIAG_REQ_PROTOCOL` of `linux/inet_diag.h`: the attribute of a request with a protocol that
/// does not fit its field. Since 5.9.
pub(super) const INET_DIAG_REQ_PROTOCOL: u16 = 3;

/// `INET_DIAG_CGROUP_ID` of `linux/inet_diag.h`: the attribute with the id of the cgroup.
pub(super) const INET_DIAG_CGROUP_ID: u16 = 21;
