//! The agent in a container with the security context, the mounts and the limits that the Helm
//! chart gives it: its rendered DaemonSet becomes a configuration of runc, with the seccomp profile
//! that is a runtime's default.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};
use tcpclose_kit::TestResult;
use tcpclose_kit::chart::Helm;
use tcpclose_kit::namespace::enter_netns;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::{find_program, skip};

use crate::chart_container::{Container, Fallible, PROFILE, list};
use crate::program::{eventually, get, records, records_of_kind};
use crate::workload::{Plan, Server};

const POD_UID: &str = "115d8276-f508-4006-afc2-ebf2e6b7f072";
const CONTAINER: &str = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3c";

fn has_what_is_needed() -> Option<Helm> {
    let helm = Helm::find()?;
    find_program("runc")?;
    if !Path::new(PROFILE).exists() {
        skip(&format!("{PROFILE} is not there"));
        return None;
    }
    Some(helm)
}

/// A cgroup as the kubelet and containerd make it; removed when dropped.
struct PodCgroup(Vec<PathBuf>);

impl PodCgroup {
    fn new() -> io::Result<Option<Self>> {
        let cgroups = tcpclose_sys::host::cgroup::Cgroups::new();
        let Some(mut directory) = cgroups.mount_point().map(ToOwned::to_owned) else {
            return Ok(None);
        };
        let mut cgroup = Self(Vec::new());
        let pod = POD_UID.replace('-', "_");
        for name in [
            format!("tcpclose-chart-{}.slice", std::process::id()),
            format!("tcpclose-kubepods-pod{pod}.slice"),
            format!("cri-containerd-{CONTAINER}.scope"),
        ] {
            directory.push(name);
            fs::create_dir(&directory)?;
            cgroup.0.push(directory.clone());
        }
        Ok(Some(cgroup))
    }

    /// Connects to the address from a process in this cgroup, which exits then.
    fn connect(&self, port: u16) -> io::Result<()> {
        let procs = self.0.last().expect("it was made").join("cgroup.procs");
        let script = format!(
            "echo $$ > {} && exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}'",
            procs.display()
        );
        let ended = Command::new("sh").args(["-c", &script]).status()?;
        assert!(ended.success(), "{ended}");
        Ok(())
    }
}

impl Drop for PodCgroup {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            for _ in 0..100 {
                if fs::remove_dir(directory).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

fn config(scratch: &Scratch, netns: &str) -> String {
    format!(
        "interval = \"1s\"\nstuck_after = \"1s\"\nrun_directory = \"/run/tcpclose\"\n\
         [trace]\nnetns = \"{netns}\"\n[prometheus]\nlisten = \"0.0.0.0:19433\"\n\
         [[output]]\ntype = \"file\"\npath = \"{}\"\n",
        scratch.path("out/records.jsonl").display()
    )
}

#[test]
fn it_works_in_the_charts_container_and_names_pods() -> TestResult {
    let Some(helm) = has_what_is_needed() else {
        return Ok(());
    };
    in_own_network(|netns| {
        let (scratch, server) = (Scratch::new(), Server::new()?);
        for directory in ["out", "links"] {
            fs::create_dir(scratch.path(directory))?;
        }
        let link = format!("web-0_shop_nginx-{CONTAINER}.log");
        symlink("/nowhere", scratch.path("links").join(link))?;
        let volumes = json!([
            {"name": "out", "hostPath": {"path": scratch.path("out")}},
            {"name": "links", "hostPath": {"path": scratch.path("links")}},
        ]);
        let mounts = json!([
            {"name": "out", "mountPath": scratch.path("out")},
            {"name": "links", "mountPath": "/var/log/containers", "readOnly": true},
        ]);
        let (volumes, mounts) = (
            format!("extraVolumes={volumes}"),
            format!("extraVolumeMounts={mounts}"),
        );
        let values = ["--set-json", &*volumes, "--set-json", &*mounts];
        let config = config(&scratch, netns);
        let container = Container::new(&helm, &scratch, &values, &config)?;
        let agent = container.start(&scratch)?;

        let doctor = container.exec(&["doctor"])?;
        assert_eq!(doctor.code, Some(0), "{doctor:?}");
        let host = Command::new(env!("CARGO_BIN_EXE_tcpclose"))
            .arg("doctor")
            .output()?;
        let host = missing(&CommandOutput::from(host).stdout);
        // No container has a tracefs, and where there is BTF nobody needs this tracepoint. The
        // chart gives no right to a priority: it would count within the pod only
        // (docs/kubernetes.md).
        let expected = ["classic tracepoint", "reader's priority"];
        let lost: Vec<String> = missing(&doctor.stdout)
            .into_iter()
            .filter(|name| !host.contains(name) && !expected.contains(&name.as_str()))
            .collect();
        assert!(lost.is_empty(), "{lost:?}: {}", doctor.stdout);

        server.play(Plan {
            by_client: 3,
            by_server: 3,
            reset: 3,
        })?;
        let Some(cgroup) = PodCgroup::new()? else {
            skip("no cgroup2 is mounted");
            return Ok(());
        };
        let service = TcpListener::bind("127.0.0.1:0")?;
        let (client, stuck) = server.connect()?;
        drop(client);
        let file = scratch.path("out/records.jsonl");
        let pid = std::process::id();
        eventually("all is written", || {
            // The agent looks for new cgroups once a second.
            cgroup.connect(service.local_addr()?.port())?;
            drop(service.accept()?);
            let records = records(&file)?;
            let of_pod = |record: &&Value| {
                let container = &record["owner"]["container"];
                container["name"] == "nginx"
                    && container["pod_name"] == "web-0"
                    && container["pod_namespace"] == "shop"
                    && container["pod"] == POD_UID
            };
            let closes = records_of_kind(&records, "close").into_iter();
            let leaks = records_of_kind(&records, "stuck").into_iter();
            // It could look into this process, which is outside of its container.
            let of_this = |leak: &Value| leak["holders"][0]["pid"] == pid;
            let is_named = closes.filter(of_pod).count() > 0;
            Ok((is_named && leaks.into_iter().any(of_this)).then_some(()))
        })?;
        drop(stuck);

        let namespace = format!("/proc/{}/ns/net", container.pid()?);
        let namespace = rustix::fs::open(namespace, OFlags::RDONLY, Mode::empty())?;
        let inside = std::thread::spawn(move || {
            enter_netns(&namespace)?;
            get(([127, 0, 0, 1], 19433).into(), "/healthz")
        });
        let (status, body) = inside.join().expect("no panic inside")?;
        assert!(status.contains("200"), "{status} {body}");
        let messages = agent.stderr();
        assert!(!messages.contains("could not be attached"), "{messages}");
        let (status, _) = agent.end()?;
        assert!(status.success(), "{status}");
        Ok(())
    })
}

/// CAP_SYS_ADMIN includes CAP_BPF and CAP_PERFMON, which are there for a pod without it.
#[test]
fn without_one_of_the_charts_capabilities_doctor_names_what_is_lost() -> TestResult {
    let Some(helm) = has_what_is_needed() else {
        return Ok(());
    };
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let mut container = Container::new(&helm, &scratch, &[], &config(&scratch, netns))?;
        let with_all = missing(&doctor_without(&mut container, &[])?.stdout);
        for (left_out, lost) in [
            (&["SYS_PTRACE"][..], "holders of sockets"),
            (&["SYS_ADMIN"], "network namespaces"),
            (&["SYS_ADMIN", "BPF"], "rights"),
            (&["SYS_ADMIN", "PERFMON"], "rights"),
        ] {
            assert!(!with_all.iter().any(|name| name == lost), "{with_all:?}");
            let ended = doctor_without(&mut container, left_out)?;
            let without = missing(&ended.stdout);
            assert!(
                without.iter().any(|name| name == lost),
                "{left_out:?}: {ended:?}"
            );
        }
        Ok(())
    })
}

/// Older default profiles allow bpf() only beside CAP_SYS_ADMIN, newer ones beside CAP_BPF, too.
#[test]
fn where_the_default_profile_refuses_bpf_it_is_named() -> TestResult {
    let Some(helm) = has_what_is_needed() else {
        return Ok(());
    };
    in_own_network(|netns| {
        let scratch = Scratch::new();
        let mut container = Container::new(&helm, &scratch, &[], &config(&scratch, netns))?;
        let doctor = doctor_without(&mut container, &["SYS_ADMIN"])?;
        let rules = container.spec()?["linux"]["seccomp"]["syscalls"].clone();
        let is_allowed = rules.as_array().ok_or("rules")?.iter().any(|rule| {
            rule["action"] == "SCMP_ACT_ALLOW" && list(&rule["names"]).any(|name| name == "bpf")
        });
        let lost = missing(&doctor.stdout);
        let is_confined = lost.iter().any(|name| name == "confinement");
        assert_eq!(is_confined, !is_allowed, "{doctor:?}");
        let wanted =
            "although this process has the capabilities: a seccomp filter restricts this process";
        assert_eq!(doctor.stderr.contains(wanted), !is_allowed, "{doctor:?}");
        Ok(())
    })
}

/// What doctor prints in the container without some of its capabilities.
fn doctor_without(container: &mut Container, left_out: &[&str]) -> Fallible<CommandOutput> {
    let all = container.granted.clone();
    let others: Vec<&str> = list(&all).filter(|name| !left_out.contains(name)).collect();
    container.agent["args"] = json!(["doctor"]);
    container.agent["securityContext"]["capabilities"]["add"] = json!(others);
    let spec = serde_json::to_vec(&container.spec()?)?;
    fs::write(container.bundle.join("config.json"), spec)?;
    let bundle = container.bundle.display().to_string();
    let ended = container.runc(&["run", "--bundle", &bundle]).output()?;
    Ok(CommandOutput::from(ended))
}

/// Returns the names of the lines in which doctor says no, or only in part.
fn missing(doctor: &str) -> Vec<String> {
    let lines = doctor.lines().filter_map(|line| {
        let rest = line
            .strip_prefix("  no   ")
            .or(line.strip_prefix("  part "))?;
        Some(rest.get(..20)?.trim_end().to_owned())
    });
    lines.collect()
}
