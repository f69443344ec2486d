//! Names of the system calls that threads of network programs sleep in.

/// The calls of this architecture whose first argument is a descriptor.
const ON_DESCRIPTORS: &[(libc::c_long, &str)] = &[
    (libc::SYS_read, "read"),
    (libc::SYS_readv, "readv"),
    (libc::SYS_write, "write"),
    (libc::SYS_writev, "writev"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_recvmmsg, "recvmmsg"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_sendmmsg, "sendmmsg"),
    (libc::SYS_sendfile, "sendfile"),
    (libc::SYS_splice, "splice"),
    (libc::SYS_accept, "accept"),
    (libc::SYS_accept4, "accept4"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_close, "close"),
    (libc::SYS_shutdown, "shutdown"),
    (libc::SYS_ioctl, "ioctl"),
    (libc::SYS_flock, "flock"),
    (libc::SYS_fsync, "fsync"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_epoll_wait, "epoll_wait"),
    (libc::SYS_epoll_pwait, "epoll_pwait"),
    (SYS_EPOLL_PWAIT2, "epoll_pwait2"),
    (libc::SYS_io_uring_enter, "io_uring_enter"),
];

/// Other calls.
const OTHERS: &[(libc::c_long, &str)] = &[
    (libc::SYS_futex, "futex"),
    (SYS_FUTEX_WAITV, "futex_waitv"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, "poll"),
    (libc::SYS_ppoll, "ppoll"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_select, "select"),
    (libc::SYS_pselect6, "pselect6"),
    (libc::SYS_nanosleep, "nanosleep"),
    (libc::SYS_clock_nanosleep, "clock_nanosleep"),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_pause, "pause"),
    (libc::SYS_wait4, "wait4"),
    (libc::SYS_waitid, "waitid"),
    (libc::SYS_rt_sigsuspend, "rt_sigsuspend"),
    (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait"),
    (libc::SYS_restart_syscall, "restart_syscall"),
    (libc::SYS_msgrcv, "msgrcv"),
    (libc::SYS_semop, "semop"),
];

/// `epoll_pwait2`, the same number on every architecture (since 5.11).
const SYS_EPOLL_PWAIT2: libc::c_long = 441;
/// `futex_waitv`, the same number on every architecture (since 5.16).
const SYS_FUTEX_WAITV: libc::c_long = 449;

/// Returns the name of a call that is known here.
pub(super) fn name_of(number: u32) -> Option<&'static str> {
    let mut all = ON_DESCRIPTORS.iter().chain(OTHERS);
    let found = all.find(|(known, _)| *known == libc::c_long::from(number))?;
    Some(found.1)
}

/// Returns whether the first argument of the call of this name is a descriptor.
pub(super) fn first_is_descriptor(name: &str) -> bool {
    ON_DESCRIPTORS.iter().any(|(_, known)| *known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_named_by_the_numbers_of_this_architecture() {
        assert_eq!(name_of(libc::SYS_futex as u32), Some("futex"));
        assert_eq!(name_of(u32::MAX), None);
        assert!(first_is_descriptor("epoll_pwait") && !first_is_descriptor("ppoll"));
    }
}
