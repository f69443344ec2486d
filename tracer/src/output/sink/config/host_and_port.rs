//! What the addresses of HTTP receivers must have, and must not.

use hyper::Uri;
use hyper::http::uri::Authority;

/// Returns whether the address contains a user or a password.
pub(super) fn has_credentials(uri: &Uri) -> bool {
    uri.authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
}

/// Returns whether the authority has a host and, if it has a port, a valid one.
pub(super) fn is_host_and_port(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    let port = rest.map(|rest| rest.strip_prefix(':'));
    let is_port = |port: &str| port.parse().is_ok_and(|port: u16| port > 0);
    !authority.host().is_empty()
        && (authority.as_str() == authority.host() || port.flatten().is_some_and(is_port))
}
