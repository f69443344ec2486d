//! Units and containers, in real cgroups.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tcpclose_sys::host::cgroup::Cgroups;

use crate::program::{self, records, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::TestResult;
use tcpclose_kit::own_network::in_own_network;
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::scratch::Scratch;
use tcpclose_kit::skip::skip;

/// A cgroup with its parents, removed at the end.
struct Cgroup {
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// `None` where cgroups (v2) cannot be made.
    fn new(path: &str) -> Option<Self> {
        let mut directory = Cgroups::new().mount_point()?.to_owned();
        let mut cgroup = Self { made: vec![] };
        for name in path.split('/') {
            directory.push(name);
            if fs::create_dir(&directory).is_ok() {
                cgroup.made.push(directory.clone());
            }
        }
        (cgroup.made.last() == Some(&directory)).then_some(cgroup)
    }

    fn take(&self, sleeper: &Sleeper) -> std::io::Result<()> {
        let procs = self
            .made
            .last()
            .map(|made| made.join("cgroup.procs"))
            .unwrap_or_default();
        fs::write(procs, sleeper.pid().to_string())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for made in self.made.iter().rev() {
            // It is busy until the last process in it is gone for good.
            for _ in 0..100 {
                if fs::remove_dir(made).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    }
}

#[test]
fn the_container_of_a_holder_is_named() -> TestResult {
    in_own_network(|netns| {
        let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3d";
        let Some(cgroup) = Cgroup::new(&format!("tcpclose-test.slice/docker-{id}.scope")) else {
            skip("no cgroup can be made");
            return Ok(());
        };
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        if let Err(error) = cgroup.take(&sleeper) {
            skip(&format!("no process can be moved to a cgroup ({error})"));
            return Ok(());
        }
        let owner = records(netns)?.record()["owner"].clone();
        assert_eq!(
            owner["container"],
            serde_json::json!({"runtime": "docker", "id": id, "pod": null})
        );
        assert!(
            owner["cgroup"]
                .as_str()
                .is_some_and(|path| path.ends_with(&format!("/docker-{id}.scope"))),
            "{owner}"
        );
        let table = scan(&["--netns", netns])?.stdout;
        assert!(
            table.contains("docker 9ec39b91f3d7\n") && !table.contains(".scope"),
            "{table}"
        );
        drop((sleeper, cgroup));
        Ok(())
    })
}

/// With the kubelet's link to a container's log, in a mount namespace of the program's own.
#[test]
fn the_pod_of_a_holder_is_named_and_selected_by_its_names() -> TestResult {
    in_own_network(|netns| {
        let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3e";
        let uid = "115d8276_f508_4006_afc2_ebf2e6b7f072";
        let pod = format!("tcpclose-test3.slice/tcpclose-kubepods-pod{uid}.slice");
        let Some(cgroup) = Cgroup::new(&format!("{pod}/cri-containerd-{id}.scope")) else {
            skip("no cgroup can be made");
            return Ok(());
        };
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        if let Err(error) = cgroup.take(&sleeper) {
            skip(&format!("no process can be moved to a cgroup ({error})"));
            return Ok(());
        }
        let with_log = |args: &[&str]| {
            let script = format!(
                "mount -t tmpfs none /var/log && mkdir /var/log/containers && \
                 ln -s /nowhere /var/log/containers/web-0_shop_nginx-{id}.log && exec \"$@\""
            );
            Command::new("unshare")
                .args(["--mount", "sh", "-c", &script, "sh"])
                .arg(program::path())
                .args(["leaks", "--min-age", "0s", "--netns", netns])
                .args(args)
                .output()
                .map(CommandOutput::from)
        };
        let container = with_log(&["--format", "json"])?.record()["owner"]["container"].clone();
        assert_eq!(
            container,
            serde_json::json!({
                "runtime": "containerd", "id": id, "pod": uid.replace('_', "-"),
                "name": "nginx", "pod_name": "web-0", "pod_namespace": "shop",
            })
        );
        let shown = "containerd nginx 9ec39b91f3d7 pod shop/web-0\n";
        for filter in [
            &["--namespace", "default,shop"][..],
            &["--pod", "web-0", "--container", "nginx"],
            &["--container", "9ec39b91f3d7"],
        ] {
            let table = with_log(filter)?.stdout;
            assert!(table.contains(shown), "{filter:?}: {table}");
        }
        for filter in [
            &["--namespace", "default"][..],
            &["--pod", "web-1"],
            &["--pod", "web-0", "--container", "other"],
        ] {
            let ended = with_log(filter)?;
            assert!(
                ended.stdout.starts_with("0 sockets stuck"),
                "{filter:?}: {ended:?}"
            );
        }
        drop((sleeper, cgroup));
        Ok(())
    })
}

/// In a root directory of its own, as a container has, but beside the processes of the host: what
/// the first of those has as its root is the host's.
#[test]
fn the_hosts_files_are_found_from_within_another_root() -> TestResult {
    in_own_network(|_| {
        let id = "9ec39b91f3d70e1beff50a308f77067065ea6be0d91a3378375056cd4422cf3a";
        let cgroup = format!("tcpclose-test4.slice/cri-containerd-{id}.scope");
        let Some(cgroup) = Cgroup::new(&cgroup) else {
            skip("no cgroup can be made");
            return Ok(());
        };
        let scratch = Scratch::new();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        // A process 1 of its own stands for the host's. The holder of the socket is beside it.
        let script = r#"
            set -e
            mount -t tmpfs none /var/log
            mkdir /var/log/containers
            ln -s /nowhere "/var/log/containers/web-0_shop_nginx-$ID.log"
            (echo 0 > "$PROCS"; exec bash -c 'exec 3<>/dev/tcp/127.0.0.1/$PORT; sleep 60') &
            until [ -e "$DIRECTORY/closed" ]; do sleep 0.02; done
            root="$DIRECTORY/root"
            mkdir -p "$root/proc" "$root/sys" "$root/usr/bin"
            mount -t proc proc "$root/proc"
            mount --rbind /sys "$root/sys"
            for directory in /lib /lib64 /usr/lib /usr/lib64; do
                [ ! -d $directory ] || { mkdir -p "$root$directory"; mount --bind $directory "$root$directory"; }
            done
            touch "$root/usr/bin/tcpclose"
            mount --bind "$PROGRAM" "$root/usr/bin/tcpclose"
            chroot "$root" /usr/bin/tcpclose leaks --min-age 0s --namespace shop || true
        "#;
        let procs = cgroup.made.last().map(|made| made.join("cgroup.procs"));
        let scan = Command::new("unshare")
            .args([
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "sh",
                "-c",
                script,
            ])
            .env("ID", id)
            .env("PROCS", procs.unwrap_or_default())
            .env("PORT", listener.local_addr()?.port().to_string())
            .env("DIRECTORY", scratch.folder())
            .env("PROGRAM", program::path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        drop(listener.accept()?);
        scratch.write("closed", "")?;
        let scan = CommandOutput::from(scan.wait_with_output()?);
        let shown = "containerd nginx 9ec39b91f3d7 pod shop/web-0\n";
        assert!(scan.stdout.contains(shown), "{scan:?}");
        drop(cgroup);
        Ok(())
    })
}

#[test]
fn the_systemd_unit_of_a_holder_is_named() -> TestResult {
    in_own_network(|netns| {
        let Some(cgroup) = Cgroup::new("tcpclose-test2.slice/web.service") else {
            skip("no cgroup can be made");
            return Ok(());
        };
        let server = Pair::forgotten()?;
        let sleeper = Sleeper::with(&server, &[207])?;
        drop(server);
        if let Err(error) = cgroup.take(&sleeper) {
            skip(&format!("no process can be moved to a cgroup ({error})"));
            return Ok(());
        }
        assert_eq!(records(netns)?.record()["process"]["unit"], "web.service");
        let table = scan(&["--netns", netns])?.stdout;
        assert!(table.contains(" web.service\n"), "{table}");
        drop((sleeper, cgroup));
        Ok(())
    })
}
