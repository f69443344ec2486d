//! Paths of cgroups: anybody with a delegated cgroup can name more of them.

use tcpclose_sys::fuzzing::container_from_cgroups;
use tcpclose_sys::host::systemd_unit::{cgroup_path as most_telling, cgroup_path_v2};
use tcpclose_sys::host::{container, systemd_unit};

/// Takes the bytes for one path, and for a whole `/proc/PID/cgroup`.
pub fn cgroup_path(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    check_path(&text);

    for path in [most_telling(&text), cgroup_path_v2(&text)]
        .into_iter()
        .flatten()
    {
        assert!(!path.contains('\n'));
        check_path(path);
    }
    if let Some(container) = container_from_cgroups(&text) {
        let names_it = |line: &str| {
            let path = line.splitn(3, ':').nth(2);
            path.and_then(container::from_cgroup_path).as_ref() == Some(&container)
        };
        assert!(text.lines().any(names_it));
    }
}

fn check_path(path: &str) {
    let container = container::from_cgroup_path(path);
    let unit = systemd_unit::from_cgroup_path(path);
    // Slashes that name nothing change nothing.
    let more = format!("/{path}//");
    assert_eq!(container::from_cgroup_path(&more), container);
    assert_eq!(systemd_unit::from_cgroup_path(&more), unit);
    if let Some(container) = container {
        assert!(!container.id.is_empty() && container.id.len() <= path.len());
        let pod = container.pod.unwrap_or_default();
        assert!(
            pod.bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        );
    }
    if let Some(unit) = unit {
        for name in unit.user.iter().chain([&unit.name]) {
            assert!(name.contains('.') && !name.contains('/'));
            assert!(path.contains(name.as_str()));
        }
    }
}
