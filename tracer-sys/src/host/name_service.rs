//! Names of other hosts in a program that has the C library inside.

#![cfg_attr(
    all(target_env = "gnu", target_feature = "crt-static"),
    expect(
        unsafe_code,
        reason = "a function of glibc's that the libc crate does not declare"
    )
)]

/// Has names looked up in /etc/hosts and by the name servers of /etc/resolv.conf only. Call it
/// before the first thread starts.
///
/// glibc loads a library of the host for every other service in /etc/nsswitch.conf, such as
/// `resolve` or `mdns4_minimal`. That library loads the host's C library, and in a program that has
/// another glibc inside, this ends in an assertion (`_dl_call_libc_early_init`, elf/
/// dl-call-libc-early-init.c). A program that loads the host's own C library needs nothing of this.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub fn use_files_and_dns_only() {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        /// Declared in glibc's nss.h.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    // SAFETY: both are C strings that glibc parses and copies; no other thread looks up a name yet.
    let result = unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    // It fails only where it knows no such database or has no memory.
    debug_assert_eq!(result, 0, "glibc has a database of hosts");
}

/// Does nothing: the program loads the host's own C library.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub const fn use_files_and_dns_only() {}
