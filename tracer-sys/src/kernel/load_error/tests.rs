use aya::sys::SyscallError;

use super::*;

fn refused(errno: Errno) -> AttachError {
    let (call, io_error) = ("bpf_prog_load", errno.into());
    AttachError::Map(MapError::SyscallError(SyscallError { call, io_error }))
}

fn host(may_trace: bool, confinements: &[Confinement]) -> Host {
    Host {
        may_trace,
        confinements: confinements.to_vec(),
        release: "6.12.0".to_owned(),
    }
}

#[test]
fn a_missing_right_is_recognized() {
    let error = LoadError::on_host(refused(Errno::PERM), host(false, &[]));
    assert!(matches!(error, LoadError::NotPermitted), "{error}");
    let error = LoadError::on_host(refused(Errno::NOMEM), host(false, &[]));
    assert!(matches!(error, LoadError::Attach(_)), "{error}");
}

#[test]
fn a_refusal_despite_the_capabilities_names_who_may_refuse() {
    let text = |errno, confinements: &[Confinement]| {
        LoadError::on_host(refused(errno), host(true, confinements)).to_string()
    };
    let both = [Confinement::Seccomp, Confinement::Lockdown];
    let error = text(Errno::PERM, &both);
    assert!(
        error.contains("a seccomp filter restricts this process: allow bpf")
            && error.contains("; or the kernel is locked down for confidentiality: boot"),
        "{error}"
    );
    assert!(text(Errno::PERM, &[]).contains("a security module"));
    // A hidden system call is no matter of lockdown.
    assert!(!text(Errno::NOSYS, &both).contains("locked down"));
    assert!(text(Errno::NOSYS, &[]).contains("CONFIG_BPF_SYSCALL"));
    let domain = [Confinement::SeLinux("container_t".to_owned())];
    assert!(text(Errno::ACCESS, &domain).contains("SELinux confines this process in container_t"));
    // Without SELinux it is the verifier's word.
    let error = LoadError::on_host(refused(Errno::ACCESS), host(true, &both));
    assert!(matches!(error, LoadError::Attach(_)), "{error}");
}

#[test]
fn an_old_kernel_is_named_once_something_has_failed() {
    let old = |errno| {
        let release = "5.4.0".to_owned();
        LoadError::on_host(
            refused(errno),
            Host {
                release,
                ..host(true, &[])
            },
        )
        .to_string()
    };
    assert!(
        old(Errno::INVAL).starts_with("Linux 5.4.0 is too old: tcpclose needs Linux 5.8"),
        "{}",
        old(Errno::INVAL)
    );
    assert!(!old(Errno::PERM).contains("too old"));
}

#[test]
fn a_missing_program_is_named() {
    let error = LoadError::from_aya(AttachError::NoProgram("kfree_skb"));
    assert_eq!(
        error.to_string(),
        "loading the eBPF programs failed: the eBPF object has no program kfree_skb"
    );
}

#[test]
fn an_unavailable_part_has_a_reason_of_one_line() {
    let error = AttachError::Thread(io::Error::other("first\nsecond"));
    assert_eq!(
        ProgramUnavailable::from(error).to_string(),
        "starting a thread failed: first"
    );
}
