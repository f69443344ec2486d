//! Finds the container that a cgroup belongs to from its path: container runtimes name their
//! cgroups after their containers.
//!
//! No runtime is involved, so this needs neither its socket nor that it runs. Anybody who may make
//! cgroups may name them so, too: it is a name, not a proof.

use tcpclose_core::process::Container;

/// The prefixes of the id in a cgroup's name. The names of supervisors (`libpod-conmon-`,
/// `crio-conmon-`) are not among them: such a process is outside of its container.
const ID_PREFIXES: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
];

/// Namespaces of containerd in which people start containers by hand; `ctr` puts them at
/// `/NAMESPACE/ID`.
const CONTAINERD_NAMESPACES: [&str; 2] = ["default", "k8s.io"];

/// Returns the innermost container that the cgroup at `path` (from the root cgroup,
/// `/system.slice/…`) is, or is within. `None` where the path names none.
#[must_use]
pub fn from_cgroup_path(path: &str) -> Option<Container> {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    (0..names.len()).rev().find_map(|at| {
        let names = &names[..=at];
        let (runtime, id) = container(names).or_else(|| outside_own_cgroup_namespace(names))?;
        Some(Container {
            runtime,
            id,
            pod: innermost_pod_uid(names),
            names: None,
        })
    })
}

/// Returns runtime and id of the container whose own cgroup is the last of `names`.
fn container(names: &[&str]) -> Option<(&'static str, String)> {
    let (&name, parents) = names.split_last()?;
    let hex = |runtime, id: &str| is_hex(id, 64).then(|| (runtime, id.to_owned()));

    // containerd with the cgroupfs driver under a kubelet with the systemd driver:
    // `POD.slice:cri-containerd:ID`.
    if let Some((rest, id)) = name.rsplit_once(':') {
        let prefix = rest.rsplit_once(':').map_or(rest, |(_, prefix)| prefix);
        let (_, runtime) = ID_PREFIXES
            .into_iter()
            .find(|(known, _)| known.strip_suffix('-') == Some(prefix))?;
        return hex(runtime, id);
    }
    let unit = name.strip_suffix(".scope").unwrap_or(name);
    if let Some(found) = ID_PREFIXES
        .into_iter()
        .find_map(|(prefix, runtime)| hex(runtime, unit.strip_prefix(prefix)?))
    {
        return Some(found);
    }
    if let Some(id) = name.strip_prefix("lxc.payload.") {
        return with_id("lxc", id);
    }
    match *parents {
        [.., "docker"] if is_hex(name, 64) => Some(("docker", name.to_owned())),
        [.., "lxc" | "lxc.payload"] => with_id("lxc", name),
        [.., "machine.slice"] => machined_container(name),
        [.., parent] if pod_uid(parent).is_some() && parents.iter().any(|p| is_kubepods(p)) => {
            hex("kubernetes", name)
        }
        [namespace] if CONTAINERD_NAMESPACES.contains(&namespace) => with_id("containerd", name),
        _ => None,
    }
}

/// Returns the same for a container outside of our own cgroup namespace, whose first names are
/// hidden by it: `/../ID`, and in a pod `/../../podUID/ID`.
fn outside_own_cgroup_namespace(names: &[&str]) -> Option<(&'static str, String)> {
    let (&name, parents) = names.split_last()?;
    let seen: Vec<&str> = parents
        .iter()
        .copied()
        .skip_while(|name| *name == "..")
        .collect();
    if seen.len() == parents.len() || !is_hex(name, 64) {
        return None;
    }
    match *seen {
        [] => Some(("unknown", name.to_owned())),
        [.., parent] if pod_uid(parent).is_some() => Some(("kubernetes", name.to_owned())),
        _ => None,
    }
}

/// Returns a machine of systemd-machined. Virtual machines of libvirt are there too; they are no
/// containers.
fn machined_container(unit: &str) -> Option<(&'static str, String)> {
    if let Some(name) = unit
        .strip_prefix("systemd-nspawn@")
        .and_then(|u| u.strip_suffix(".service"))
    {
        return with_id("systemd-nspawn", &unescape(name));
    }
    let name = unescape(unit.strip_prefix("machine-")?.strip_suffix(".scope")?);
    // libvirt's own names: DRIVER-NUMBER-NAME.
    let libvirt = |driver: &str| {
        let (number, domain) = name.strip_prefix(driver)?.split_once('-')?;
        number
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(domain)
    };
    if libvirt("qemu-").is_some() {
        return None;
    }
    match libvirt("lxc-") {
        Some(domain) => with_id("lxc", domain),
        None => with_id("systemd-nspawn", &name),
    }
}

fn with_id(runtime: &'static str, id: &str) -> Option<(&'static str, String)> {
    (!id.is_empty()).then(|| (runtime, id.to_owned()))
}

/// Returns UID of the innermost pod among `names`.
fn innermost_pod_uid(names: &[&str]) -> Option<String> {
    let outside = |name: &str| is_kubepods(name) || name == "..";
    let within = names.iter().position(|name| outside(name))?;
    names[within..].iter().rev().find_map(|name| {
        // Everything after the slice belongs to the container: see `container`.
        pod_uid(name.split_once(':').map_or(*name, |(slice, _)| slice))
    })
}

/// Returns whether the kubelet made the cgroup: `kubepods`, `kubepods.slice`,
/// `kubepods-burstable-podUID.slice`, and the same after a parent's name (`kubelet-kubepods…` with
/// a `cgroupRoot`).
fn is_kubepods(name: &str) -> bool {
    name.split(['-', '.']).any(|word| word == "kubepods")
}

/// Returns the pod UID in `podUID` (cgroupfs driver) or `…-podUID.slice` (systemd driver, with `_`
/// in place of `-`).
fn pod_uid(name: &str) -> Option<String> {
    let uid = match name.strip_suffix(".slice") {
        Some(slice) => slice.rsplit_once("-pod")?.1,
        None => name.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    // A UUID, or for static pods the MD5 of their definition.
    let parts: Vec<&str> = uid.split('-').collect();
    let is_uuid = parts.len() == 5
        && parts
            .iter()
            .zip([8, 4, 4, 4, 12])
            .all(|(part, len)| is_hex(part, len));
    (is_uuid || is_hex(&uid, 32)).then_some(uid)
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Undoes systemd's `\xNN` in unit names (systemd.unit(5)). What does not make UTF-8 stays as it
/// is.
fn unescape(unit: &str) -> String {
    let mut plain = Vec::with_capacity(unit.len());
    let mut rest = unit.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match after {
            [b'x', high, low, tail @ ..] if *first == b'\\' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                if let (Some(high), Some(low)) = (digit(*high), digit(*low)) {
                    plain.push(((high << 4) | low) as u8);
                    rest = tail;
                } else {
                    plain.push(*first);
                }
            }
            _ => plain.push(*first),
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| unit.to_owned())
}

#[cfg(test)]
mod tests;
