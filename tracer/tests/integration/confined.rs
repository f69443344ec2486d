//! Surroundings that forbid what the program needs. Each is named in one sentence, by the command
//! that fails and by `doctor`.

use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use crate::harness::{program, requirements};
use tcpclose_kit::command;
use tcpclose_kit::process::{CommandOutput, run};
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::{find_program, program_path, skip};

/// Runs a command in such surroundings, and asserts that it fails with one sentence. Returns that.
fn refusal(args: &[&str], confine: impl FnOnce(&mut Command)) -> String {
    let mut command = program::command();
    confine(command.args(args));
    let CommandOutput {
        code,
        stdout,
        stderr,
    } = run(&mut command);
    program::assert_no_panic(&stderr);
    assert_eq!(code, Some(2), "exit code; stderr: {stderr}");
    assert_eq!(stdout, "", "stdout");
    assert_eq!(stderr.lines().count(), 1, "one sentence: {stderr}");
    stderr
}

/// What `doctor` prints there, and its exit code.
fn diagnosis(confine: impl FnOnce(&mut Command)) -> (Option<i32>, String) {
    let mut command = program::command();
    confine(command.arg("doctor"));
    let ended = run(&mut command);
    program::assert_no_panic(&ended.stderr);
    (ended.code, ended.stdout)
}

/// As the default profiles of container runtimes do without CAP_BPF.
#[test]
fn a_seccomp_filter_that_forbids_bpf_is_named() {
    if !requirements::can_trace() {
        return;
    }
    let confine = |command: &mut Command| command::with_bpf_refused(command, Errno::PERM);
    let sentence = refusal(&["watch"], confine);
    let wanted = "although this process has the capabilities: a seccomp filter restricts this process: allow bpf";
    assert!(sentence.contains(wanted), "{sentence}");
    let (code, report) = diagnosis(confine);
    assert_eq!(code, Some(2), "{report}");
    let row = "no   confinement          a seccomp filter restricts this process";
    assert!(report.contains(row), "{report}");
    assert!(
        report.contains("fix: allow bpf, perf_event_open"),
        "{report}"
    );
}

#[test]
fn a_seccomp_filter_that_hides_bpf_is_named() {
    if !requirements::can_trace() {
        return;
    }
    let confine = |command: &mut Command| command::with_bpf_refused(command, Errno::NOSYS);
    let sentence = refusal(&["watch"], confine);
    assert!(
        sentence.contains("a seccomp filter restricts this process"),
        "{sentence}"
    );
}

#[test]
fn an_old_kernel_is_named() {
    if !requirements::can_trace() {
        return;
    }
    let confine = |command: &mut Command| {
        command::with_old_release(command);
        command::with_bpf_refused(command, Errno::INVAL);
    };
    let sentence = refusal(&["watch"], confine);
    let is_named = sentence.contains("Linux 2.6.") && sentence.contains("needs Linux 5.8");
    assert!(is_named, "{sentence}");
    let (code, report) = diagnosis(confine);
    assert_eq!(code, Some(2), "{report}");
    assert!(
        report.contains("no   kernel               older than 5.8"),
        "{report}"
    );
}

/// The number alone proves nothing: distributions backport.
#[test]
fn an_old_number_on_a_kernel_that_works_is_no_obstacle() {
    if !requirements::can_trace() {
        return;
    }
    let (code, report) = diagnosis(command::with_old_release);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.contains("yes  kernel "), "{report}");
}

#[test]
fn a_missing_sys_is_named() {
    if !requirements::can_trace() {
        return;
    }
    let sentence = refusal(&["watch"], command::without_sys);
    let wanted = "/sys is not mounted, so neither the kernel's BTF nor its tracepoints can be found; mount it";
    assert!(sentence.contains(wanted), "{sentence}");
    let (code, report) = diagnosis(command::without_sys);
    assert_eq!(code, Some(2), "{report}");
    let row = report
        .lines()
        .skip_while(|line| !line.contains("kernel BTF"));
    let remedy = row.take(3).find(|line| line.contains("fix: mount it with"));
    assert!(remedy.is_some(), "{report}");
}

/// The profile is the one of `data/apparmor/confined.profile`, compiled:
/// `apparmor_parser --policy-features abi/3.0 --skip-kernel-load --ofile`.
#[test]
#[ignore = "changes the whole kernel: only test machines run it"]
fn an_apparmor_profile_is_named() {
    const POLICY: &[u8] = include_bytes!("../data/apparmor/confined.policy");
    if !Path::new("/sys/kernel/security/apparmor/.load").exists() {
        skip("this kernel has no AppArmor");
        return;
    }
    fs::write("/sys/kernel/security/apparmor/.load", POLICY).expect("the profile is loaded");
    let confine = |command: &mut Command| {
        command::with_apparmor_profile(command, c"exec tcpclose-test-confined");
    };
    let sentence = refusal(&["watch"], confine);
    let wanted = "although this process has the capabilities: the AppArmor profile tcpclose-test-confined confines this process: ";
    assert!(sentence.contains(wanted), "{sentence}");
    let (code, report) = diagnosis(confine);
    assert_eq!(code, Some(2), "{report}");
    for row in [
        "no   rights               a security module denies CAP_BPF, CAP_PERFMON",
        "no   confinement          the AppArmor profile tcpclose-test-confined",
    ] {
        assert!(report.contains(row), "{report}");
    }
}

/// The last one, as nothing unlocks the kernel again. The order is that of the names.
#[test]
#[ignore = "changes the whole kernel: only test machines run it"]
fn lockdown_is_named() {
    const FILE: &str = "/sys/kernel/security/lockdown";
    if !Path::new(FILE).exists() {
        skip("this kernel has no lockdown");
        return;
    }
    fs::write(FILE, "confidentiality").expect("the kernel is locked down");
    let (code, report) = diagnosis(|_| ());
    let named = "the kernel is locked down for confidentiality";
    assert!(report.contains(named), "{report}");
    // Kernels differ: the programs read with the kernel's types, which lockdown does not forbid.
    if code == Some(0) {
        assert!(report.contains(&format!(
            "yes  confinement          {named}, but eBPF is allowed"
        )));
    } else {
        let sentence = refusal(&["watch"], |_| ());
        assert!(sentence.contains(named), "{sentence}");
    }
}

/// The classic tier has neither; its absence is not what has to be mended.
#[test]
fn a_missing_sys_is_named_before_what_needs_btf() {
    if !requirements::can_trace() {
        return;
    }
    for args in [
        &["agent", "--self-test"][..],
        &["watch", "--netns", "/proc/self/ns/net"],
    ] {
        let sentence = refusal(args, command::without_sys);
        assert!(sentence.contains("/sys is not mounted"), "{sentence}");
    }
}

#[test]
fn doctor_names_a_missing_proc_where_it_matters() {
    if !requirements::can_trace() {
        return;
    }
    let (code, report) = diagnosis(command::without_proc);
    assert_eq!(code, Some(0), "{report}");
    for row in ["confinement", "network namespaces", "holders of sockets"] {
        let lines: Vec<&str> = report
            .lines()
            .skip_while(|line| !line.contains(row))
            .take(3)
            .collect();
        let [line, _, remedy] = lines.as_slice() else {
            panic!("three lines about {row}: {report}");
        };
        let is_named = line.starts_with("  no ") && line.contains("/proc is not mounted");
        assert!(is_named, "{report}");
        assert!(
            remedy.contains("fix: mount it with `mount -t proc proc /proc`"),
            "{report}"
        );
    }
}

/// The program would be ended by an allocation, without a word of why.
#[test]
fn a_low_limit_of_the_address_space_is_named() {
    if !requirements::can_trace() || find_program("prlimit").is_none() {
        return;
    }
    for limit in ["--as=60000000", "--as=120000000"] {
        let mut command = Command::new(program_path("prlimit"));
        command.args([limit, &program::path(), "watch"]);
        let ended = run(&mut command);
        program::assert_no_panic(&ended.stderr);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        let words = "of address space (RLIMIT_AS) and needs";
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
    }
}

/// Root of a rootless container has all capabilities there, and none that counts.
#[test]
fn a_user_namespace_is_named() {
    if !requirements::can_trace() {
        return;
    }
    let wanted = "in a user namespace (a rootless container); run tcpclose as the host's root";
    let sentence = refusal(&["watch"], command::in_user_namespace);
    assert!(sentence.contains(wanted), "{sentence}");
    let (code, report) = diagnosis(command::in_user_namespace);
    assert_eq!(code, Some(2), "{report}");
    let row = "no   rights               this process is in a user namespace";
    assert!(report.contains(row), "{report}");
}

/// What the problem's line says is not said again by the remedy's.
#[test]
fn doctor_shows_each_remedy_in_a_line_of_its_own() {
    if !requirements::can_trace() {
        return;
    }
    for confine in [command::without_sys, command::in_user_namespace] {
        let (_, report) = diagnosis(confine);
        for line in report.lines().filter(|line| line.contains("fix: ")) {
            let (_, remedy) = line.split_once("fix: ").expect("it is there");
            let place = report.lines().find(|other| {
                let is_problem = other.starts_with("  no ");
                is_problem && other.contains(remedy)
            });
            assert_eq!(place, None, "{report}");
        }
    }
}

#[test]
fn a_read_only_root_is_no_obstacle_but_to_what_is_written_there() {
    if !requirements::can_trace() {
        return;
    }
    let (code, report) = diagnosis(command::with_read_only_root);
    assert_eq!(code, Some(0), "{report}");
    let file = "/tcpclose-cannot-write-here";
    let sentence = refusal(&["record", file], command::with_read_only_root);
    assert!(
        sentence.contains(file) && sentence.contains("Read-only file system"),
        "{sentence}"
    );
    let scratch = Scratch::new();
    let config = format!("run_directory = \"{file}\"\n[[output]]\ntype = \"journald\"\n");
    let config = scratch
        .write("agent.toml", &config)
        .expect("our own folder");
    let config = config.to_str().expect("it is text");
    let sentence = refusal(&["agent", "--config", config], command::with_read_only_root);
    let lock = "its lock /tcpclose-cannot-write-here/journald.lock cannot be taken (set run_directory): Read-only";
    assert!(sentence.contains(lock), "{sentence}");
}
