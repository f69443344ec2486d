//! Reads kernel structures by plain loads at offsets that user space took from this kernel's BTF.
//!
//! The offsets lie in the frozen `.rodata`, so the verifier folds them and checks each load against
//! its own BTF: a wrong offset is refused at load time, never read.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_tcp_sock};
use tcpclose_common::ProgramConfig;

/// `AF_INET` of include/linux/socket.h.
pub const AF_INET: u16 = 2;

/// Written by user space before the programs are loaded.
#[unsafe(no_mangle)]
static CONFIG: ProgramConfig = ProgramConfig::ZERO;

/// Reads one field of [`CONFIG`]. Volatile: the compiler must not know that it is zero in the
/// object file.
macro_rules! config {
    ($field:ident) => {
        $crate::kernel::config_word(core::mem::offset_of!(
            tcpclose_common::ProgramConfig,
            $field
        ))
    };
}
pub(crate) use config;

#[inline(always)]
pub fn config_word(offset: usize) -> u32 {
    // SAFETY: every field of ProgramConfig is a u32 and `offset` comes from offset_of!.
    unsafe {
        (&raw const CONFIG)
            .cast::<u8>()
            .add(offset)
            .cast::<u32>()
            .read_volatile()
    }
}

/// Returns a `T` at `offset` bytes from the start of the kernel structure at `base`.
///
/// # Safety
/// `base` must be a pointer that the verifier has typed, and `offset` that of a field of `T`'s
/// size.
#[inline(always)]
pub unsafe fn load<T>(base: *const c_void, offset: u32) -> T {
    // SAFETY: the caller's promise, and the verifier's proof.
    unsafe {
        base.cast::<u8>()
            .add(offset as usize)
            .cast::<T>()
            .read_volatile()
    }
}

/// Returns whether an IPv6 address that begins with these words, in network order, is a v4-mapped
/// one.
#[inline(always)]
pub const fn is_v4_mapped(high: u64, middle: u32) -> bool {
    high == 0 && u32::from_be(middle) == 0xffff
}

/// A typed `struct sock *` of a tracepoint's argument.
#[derive(Clone, Copy)]
pub struct Sock(pub *const c_void);

impl Sock {
    /// Returns a field of `struct sock`.
    #[inline(always)]
    pub fn field<T>(self, offset: u32) -> T {
        // SAFETY: the verifier has typed the argument, and `offset` is a BTF offset of struct sock.
        unsafe { load(self.0, offset) }
    }

    /// Returns the full TCP socket; `None` for other protocols (SCTP, MPTCP) and for minisockets.
    #[inline(always)]
    pub fn tcp(self) -> Option<TcpSock> {
        // SAFETY: the helper takes any typed sock and returns NULL for what is no TCP socket.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut()) };
        if tcp.is_null() {
            None
        } else {
            Some(TcpSock(tcp.cast()))
        }
    }

    /// Returns the IP version on the wire: an IPv6 socket with a v4-mapped peer speaks IPv4.
    #[inline(always)]
    pub fn ip_version(self) -> u8 {
        if self.field::<u16>(config!(skc_family)) == AF_INET {
            return 4;
        }
        let high: u64 = self.field(config!(skc_v6_daddr));
        let middle: u32 = self.field(config!(skc_v6_daddr) + 8);
        if is_v4_mapped(high, middle) { 4 } else { 6 }
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub fn netns(self) -> u32 {
        let net: *const c_void = self.field(config!(skc_net));
        // SAFETY: skc_net.net is a typed `struct net *`, and net_inum the BTF offset of its inode
        // number.
        unsafe { load(net, config!(net_inum)) }
    }

    /// Returns the identity of the socket: its cookie, else its address; and whether it is a
    /// cookie.
    #[inline(always)]
    pub fn id(self) -> (u64, bool) {
        if config!(has_cookie) != 0 {
            // SAFETY: the helper takes any typed sock.
            (unsafe { bpf_get_socket_cookie(self.0.cast_mut()) }, true)
        } else {
            (self.0 as u64, false)
        }
    }
}

/// A typed `struct tcp_sock *`.
#[derive(Clone, Copy)]
pub struct TcpSock(*const c_void);

impl TcpSock {
    /// Returns a field of `struct tcp_sock` or of what it starts with.
    #[inline(always)]
    pub fn field<T>(self, offset: u32) -> T {
        // SAFETY: bpf_skc_to_tcp_sock returned it, and `offset` is a BTF offset of struct tcp_sock.
        unsafe { load(self.0, offset) }
    }
}
