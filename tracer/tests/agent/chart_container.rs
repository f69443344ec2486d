//! A container of runc with the security context, the mounts and the limits of the Helm chart's
//! agent, and with the seccomp profile that is a runtime's default.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tcpclose_kit::chart::{Helm, IMAGE, of_kind};
use tcpclose_kit::process::CommandOutput;
use tcpclose_kit::scratch::Scratch;

use crate::program::Agent;

/// The default seccomp profile of CRI-O and podman, which is docker's and containerd's with other
/// defaults for what is unknown.
pub const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// Directories of the host that the program under test needs for its libraries; the image has none,
/// as its program is linked statically.
const LIBRARIES: [&str; 4] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64"];

pub type Fallible<T> = Result<T, Box<dyn std::error::Error>>;

/// A container of runc, which is deleted when dropped.
pub struct Container {
    id: String,
    pub bundle: PathBuf,
    pod: Value,
    /// The agent's container in the pod's specification.
    pub agent: Value,
    /// The capabilities that the chart gives it.
    pub granted: Value,
}

impl Container {
    /// Makes the bundle of the chart's agent. `values`: of the chart; `config`: the agent's.
    pub fn new(helm: &Helm, scratch: &Scratch, values: &[&str], config: &str) -> Fallible<Self> {
        let config = format!("config={config}");
        let values = [&IMAGE[..], values, &["--set-literal", &config]].concat();
        let manifests = helm.read(&helm.template("1.37", &values)?);
        let pod = of_kind(&manifests, "DaemonSet")["spec"]["template"]["spec"].clone();
        let bundle = scratch.path("bundle");
        for directory in ["rootfs", "config"] {
            fs::create_dir_all(bundle.join(directory))?;
        }
        let files = of_kind(&manifests, "ConfigMap")["data"].as_object();
        for (name, content) in files.ok_or("the ConfigMap has files")? {
            fs::write(
                bundle.join("config").join(name),
                content.as_str().unwrap_or_default(),
            )?;
        }
        let container = Self {
            id: format!(
                "tcpclose-test-{}-{}",
                std::process::id(),
                scratch.folder().display()
            )
            .replace('/', "-"),
            agent: pod["containers"][0].clone(),
            granted: pod["containers"][0]["securityContext"]["capabilities"]["add"].clone(),
            pod,
            bundle,
        };
        let spec = container.spec()?;
        fs::write(
            container.bundle.join("config.json"),
            serde_json::to_vec(&spec)?,
        )?;
        Ok(container)
    }

    /// What a kubelet and a runtime make of the pod's specification.
    pub fn spec(&self) -> Fallible<Value> {
        let context = &self.agent["securityContext"];
        let granted: BTreeSet<String> = list(&context["capabilities"]["add"])
            .map(|name| format!("CAP_{name}"))
            .collect();
        let args: Vec<&str> = ["/usr/bin/tcpclose"]
            .into_iter()
            .chain(list(&self.agent["args"]))
            .collect();
        let memory = self.agent["resources"]["limits"]["memory"].as_str();
        let memory = memory.and_then(|limit| limit.strip_suffix("Mi"));
        let memory: i64 = memory.ok_or("a limit in Mi")?.parse()?;
        let mut namespaces = vec!["mount", "ipc", "uts", "cgroup"];
        if self.pod["hostNetwork"] != true {
            namespaces.push("network");
        }
        if self.pod["hostPID"] != true {
            namespaces.push("pid");
        }
        let namespaces: Vec<Value> = namespaces
            .iter()
            .map(|kind| json!({"type": kind}))
            .collect();
        Ok(json!({
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": context["runAsUser"], "gid": context["runAsGroup"]},
                "args": args,
                "env": ["PATH=/usr/bin"],
                "cwd": "/",
                "capabilities": {
                    "bounding": granted, "effective": granted, "permitted": granted,
                },
                "noNewPrivileges": context["allowPrivilegeEscalation"] == false,
            },
            "root": {"path": "rootfs", "readonly": context["readOnlyRootFilesystem"]},
            "hostname": "tcpclose-x2x7k",
            "mounts": self.mounts(),
            "linux": {
                "namespaces": namespaces,
                "resources": {"memory": {"limit": memory << 20}, "devices": [{"allow": false, "access": "rwm"}]},
                "cgroupsPath": format!("/{}", self.id),
                "seccomp": seccomp(&granted)?,
                // As containerd, CRI-O and docker do.
                "maskedPaths": [
                    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"
                ],
                "readonlyPaths": [
                    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"
                ],
            },
        }))
    }

    fn mounts(&self) -> Vec<Value> {
        let mount = |to: &str, kind: &str, from: &str, options: &[&str]| json!({"destination": to, "type": kind, "source": from, "options": options});
        let bind = |from: &str, to: &str, is_read_only: bool| {
            let access = if is_read_only { "ro" } else { "rw" };
            mount(to, "bind", from, &["rbind", "rprivate", access])
        };
        let safe = ["nosuid", "noexec", "nodev"];
        let read_only = ["nosuid", "noexec", "nodev", "ro"];
        let mut mounts = vec![
            mount("/proc", "proc", "proc", &safe),
            mount(
                "/dev",
                "tmpfs",
                "tmpfs",
                &["nosuid", "strictatime", "mode=755"],
            ),
            mount("/sys", "sysfs", "sysfs", &read_only),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &read_only),
            bind(env!("CARGO_BIN_EXE_tcpclose"), "/usr/bin/tcpclose", true),
        ];
        let libraries = LIBRARIES
            .iter()
            .filter(|directory| Path::new(directory).exists());
        mounts.extend(libraries.map(|directory| bind(directory, directory, true)));
        let volumes = self.pod["volumes"].as_array().into_iter().flatten();
        let volumes: Vec<&Value> = volumes.collect();
        for wanted in self.agent["volumeMounts"].as_array().into_iter().flatten() {
            let volume = volumes
                .iter()
                .find(|volume| volume["name"] == wanted["name"]);
            let volume = volume.unwrap_or_else(|| panic!("a volume for {wanted}"));
            let to = wanted["mountPath"].as_str().unwrap_or_default();
            let is_read_only = wanted["readOnly"] == true;
            mounts.push(if volume["hostPath"]["type"] == "DirectoryOrCreate" {
                let directory = self.bundle.join("host").join(to.trim_start_matches('/'));
                fs::create_dir_all(&directory).expect("a folder of the bundle");
                bind(&directory.display().to_string(), to, is_read_only)
            } else if let Some(path) = volume["hostPath"]["path"].as_str() {
                bind(path, to, is_read_only)
            } else if volume["configMap"].is_object() {
                let files = self.bundle.join("config");
                bind(&files.display().to_string(), to, is_read_only)
            } else {
                mount(to, "tmpfs", "tmpfs", &["nosuid", "nodev", "mode=777"])
            });
        }
        mounts
    }

    /// `runc COMMAND ID`, to be given arguments.
    pub fn runc(&self, command: &[&str]) -> Command {
        let mut runc = Command::new("runc");
        runc.arg("--root")
            .arg(self.bundle.join("state"))
            .args(command)
            .arg(&self.id);
        runc
    }

    /// Starts the agent and waits until it works.
    pub fn start(&self, scratch: &Scratch) -> io::Result<Agent> {
        let bundle = self.bundle.display().to_string();
        Agent::run(self.runc(&["run", "--bundle", &bundle]), scratch)
    }

    /// Runs tcpclose in the container, with the rights of the container.
    pub fn exec(&self, args: &[&str]) -> io::Result<CommandOutput> {
        let mut runc = self.runc(&["exec"]);
        runc.arg("/usr/bin/tcpclose")
            .args(args)
            .output()
            .map(CommandOutput::from)
    }

    /// Returns the id of the agent's process.
    pub fn pid(&self) -> Fallible<u64> {
        let state = self.runc(&["state"]).output()?;
        let state: Value = serde_json::from_slice(&state.stdout)?;
        state["pid"]
            .as_u64()
            .ok_or_else(|| format!("{state}").into())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.runc(&["delete", "--force"]).output());
    }
}

pub fn list(of: &Value) -> impl Iterator<Item = &str> {
    of.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// Returns runc's form of the default profile for a container with these capabilities.
fn seccomp(granted: &BTreeSet<String>) -> Fallible<Value> {
    let (arch, seccomp_arch) = match std::env::consts::ARCH {
        "aarch64" => ("arm64", "SCMP_ARCH_AARCH64"),
        _ => ("amd64", "SCMP_ARCH_X86_64"),
    };
    let profile: Value = serde_json::from_slice(&fs::read(PROFILE)?)?;
    let rules = profile["syscalls"].as_array().ok_or("it has rules")?;
    let applies = |rule: &&Value| {
        let (includes, excludes) = (&rule["includes"], &rule["excludes"]);
        let is_arch = |arches: &Value| list(arches).any(|one| one == arch);
        list(&includes["caps"]).all(|capability| granted.contains(capability))
            && (list(&includes["arches"]).next().is_none() || is_arch(&includes["arches"]))
            && !list(&excludes["caps"]).any(|capability| granted.contains(capability))
            && !is_arch(&excludes["arches"])
    };
    let rules: Vec<Value> = rules
        .iter()
        .filter(applies)
        .map(|rule| {
            let mut rule = rule.clone();
            let fields = rule.as_object_mut().expect("a rule is an object");
            let known = ["names", "action", "args", "errnoRet"];
            fields.retain(|name, value| known.contains(&&**name) && !value.is_null());
            rule
        })
        .collect();
    assert!(rules.len() > 5, "{profile}");
    Ok(json!({
        "defaultAction": profile["defaultAction"],
        "architectures": [seccomp_arch],
        "syscalls": rules,
    }))
}
