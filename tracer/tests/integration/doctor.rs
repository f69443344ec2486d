//! Whether `tcpclose doctor` is right: each line that says what is attached is compared with the
//! links that the kernel shows for a running program, and each remedy with the running kernel.

use std::fs;
use std::path::PathBuf;

use crate::harness::program;
use crate::harness::requirements;
use crate::harness::watch::Watch;
use tcpclose_kit::command::with_tracefs;
use tcpclose_kit::kernel::kernel_version;
use tcpclose_kit::process::run;

/// The tracepoints behind each line of doctor, in the order of their names.
const TRACEPOINTS: [(&str, &str); 6] = [
    ("evidence", "inet_sock_set_state"),
    ("own drops", "kfree_skb"),
    ("last segments", "kfree_skb"),
    ("causes", "tcp_receive_reset"),
    ("causes", "tcp_retransmit_skb"),
    ("causes", "tcp_send_reset"),
];
/// The functions behind the line about TIME_WAIT.
const HOOKS: usize = 3;
/// `BPF_TRACE_FENTRY` of bpf.h, as /proc has it.
const ATTACHED_TO_FUNCTION: &str = "24";

/// What doctor says here, with tracefs mounted.
fn doctor() -> String {
    let mut doctor = program::command();
    with_tracefs(doctor.arg("doctor"));
    run(&mut doctor).stdout
}

/// Returns whether the line of that name says yes.
fn names_yes(report: &str, name: &str) -> bool {
    let line = report.lines().find(|line| {
        let rest = line.trim_start().split_once(' ');
        rest.is_some_and(|(_, rest)| rest.trim_start().starts_with(&format!("{name} ")))
    });
    let line = line.unwrap_or_else(|| panic!("no line about {name} in:\n{report}"));
    line.trim_start().starts_with("yes ")
}

/// What /proc says of each descriptor that is a link of eBPF, or a perf event.
fn links(watch: &Watch) -> Vec<String> {
    let process = PathBuf::from(format!("/proc/{}", watch.pid()));
    let descriptors = fs::read_dir(process.join("fd")).expect("its descriptors");
    let names = descriptors.map(|entry| entry.expect("a descriptor").file_name());
    names
        .filter_map(|name| {
            let file = fs::read_link(process.join("fd").join(&name)).ok()?;
            let info = fs::read_to_string(process.join("fdinfo").join(&name)).ok()?;
            let is_wanted =
                info.contains("link_type:") || file.ends_with("anon_inode:[perf_event]");
            is_wanted.then_some(info)
        })
        .collect()
}

/// The values of a field of the links that have it, sorted.
fn values<'a>(links: &'a [String], field: &str) -> Vec<&'a str> {
    let lines = links.iter().flat_map(|info| info.lines());
    let mut values: Vec<_> = lines
        .filter_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(str::trim)
        .collect();
    values.sort_unstable();
    values
}

/// How many programs are attached to the entry of a function.
fn hooks(links: &[String]) -> usize {
    let kinds = values(links, "attach_type").into_iter();
    kinds.filter(|kind| *kind == ATTACHED_TO_FUNCTION).count()
}

#[test]
fn what_it_reports_as_attached_is_what_the_kernel_shows() {
    if !requirements::can_trace() {
        return;
    }
    let report = doctor();
    let watch = Watch::spawn(program::command().args(["watch", "--format", "json"]));
    let links = links(&watch);
    let mut said: Vec<_> = TRACEPOINTS
        .into_iter()
        .filter(|(name, _)| names_yes(&report, name))
        .map(|(_, tracepoint)| tracepoint)
        .collect();
    // One program may be behind two lines.
    said.dedup();
    assert_eq!(values(&links, "tp_name"), said, "{report}\n{links:#?}");
    let said = match names_yes(&report, "TIME_WAIT hooks") {
        true => HOOKS,
        false => 0,
    };
    assert_eq!(hooks(&links), said, "{report}\n{links:#?}");
}

#[test]
fn the_classic_tracepoint_is_attached_where_doctor_reports_it() {
    if !requirements::has_classic_tracepoint() {
        return;
    }
    let mut command = program::command();
    with_tracefs(command.args(["watch", "--no-btf", "--format", "json"]));
    let watch = Watch::spawn(&mut command);
    let links = links(&watch);
    // A perf event, with a link or without; newer kernels show its tracepoint, too.
    let kinds = values(&links, "link_type");
    assert!(!kinds.contains(&"raw_tracepoint"), "{links:#?}");
    assert!(!links.is_empty(), "nothing is attached");
}

/// A remedy of the form "use Linux 6.11 or newer" is true where this kernel is older, and false
/// where it is not.
#[test]
fn a_newer_kernel_is_the_remedy_only_where_this_one_is_older() {
    if !requirements::can_trace() {
        return;
    }
    let report = doctor();
    for line in report.lines() {
        let Some((_, remedy)) = line.split_once("fix: use Linux ") else {
            continue;
        };
        let version = remedy.split(' ').next().expect("a version");
        let (major, minor) = version.split_once('.').expect("a version");
        let needed: (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
        assert!(kernel_version() < needed, "{report}");
    }
    // A kernel of a distribution that lacks nothing but its age.
    if requirements::has_all_but_age() {
        let missing = report.split("\n  no ").skip(1);
        // An agent is no feature of the kernel.
        for lines in missing.filter(|lines| !lines.trim_start().starts_with("running agent")) {
            assert!(lines.contains("fix: use Linux "), "{report}");
        }
    }
}
