//! Builds the bytes of a netlink request (`linux/netlink.h`).

/// Length of `struct nlmsghdr`, which precedes the content of a request or an answer.
pub(super) const HEADER_LEN: usize = 16;

/// A request of `LEN` bytes, header included. Bytes that are not set are 0.
pub(super) struct NetlinkRequest<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> NetlinkRequest<LEN> {
    /// Starts a request with its header; `flags` are those beside `NLM_F_REQUEST`.
    pub fn new(kind: u16, flags: libc::c_int, sequence: u32) -> Self {
        let flags = (libc::NLM_F_REQUEST | flags) as u16;
        let mut request = Self([0; LEN]);
        request.put(0, &(LEN as u32).to_ne_bytes());
        request.put(4, &kind.to_ne_bytes());
        request.put(6, &flags.to_ne_bytes());
        request.put(8, &sequence.to_ne_bytes());
        request
    }

    /// Sets the bytes from offset `at` on, counted from the start of the header.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// Returns the finished request.
    pub fn into_bytes(self) -> [u8; LEN] {
        self.0
    }
}
