//! Units and containers, in real cgroups.

use std::fs;
use std::path::PathBuf;

use tcpclose_sys::host::cgroup::Cgroups;

use crate::program::{records, scan};
use crate::stuck::{Pair, Sleeper};
use tcpclose_kit::Outcome;
use tcpclose_kit::own_network::in_own_network;
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
fn the_container_of_a_holder_is_named() -> Outcome {
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

#[test]
fn the_systemd_unit_of_a_holder_is_named() -> Outcome {
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
