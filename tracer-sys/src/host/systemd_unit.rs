//! Finds the systemd unit that a cgroup belongs to, and the cgroup of a process.

use tcpclose_core::process::Unit;

/// The kinds of unit that have processes. A slice has only other units.
const UNIT_SUFFIXES: [&str; 6] = [
    ".service", ".scope", ".mount", ".socket", ".swap", ".machine",
];

/// Returns the unit whose cgroup is at `path` (from the root cgroup), or above it. `None` where
/// systemd made none of them.
#[must_use]
pub fn from_cgroup_path(path: &str) -> Option<Unit> {
    // From a cgroup namespace of one's own, what is outside of it is shown relative to its root:
    // `/../../a.slice/b.service`.
    let mut names = path.split('/').filter(|name| !matches!(*name, "" | ".."));
    let mut next = || {
        names
            .find(|name| !name.ends_with(".slice"))
            .filter(|name| is_unit(name))
            .map(unescape)
    };
    let name = next()?;
    let user = name.starts_with("user@").then(next).flatten();
    Some(Unit { name, user })
}

fn is_unit(name: &str) -> bool {
    let stem = UNIT_SUFFIXES
        .iter()
        .find_map(|kind| name.strip_suffix(kind));
    stem.is_some_and(|stem| !stem.is_empty())
}

/// systemd puts `_` before a name that the cgroup file system would take for one of its own files
/// (`cg_escape`).
fn unescape(name: &str) -> String {
    name.strip_prefix('_').unwrap_or(name).to_owned()
}

/// Returns the most informative cgroup path in a `/proc/PID/cgroup` (cgroups(7)): that of v2, else
/// systemd's own hierarchy, else that of any controller. The root is the least informative.
#[must_use]
pub fn cgroup_path(text: &str) -> Option<&str> {
    let rank = |hierarchy: &str, controllers: &str, path: &str| {
        let of_hierarchy = match (hierarchy, controllers) {
            ("0", "") => 2,
            (_, "name=systemd") => 1,
            _ => 0,
        };
        (path != "/", of_hierarchy)
    };
    let lines = text.lines().filter_map(|line| {
        let (hierarchy, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((rank(hierarchy, controllers, path), path))
    });
    lines.max_by_key(|(rank, _)| *rank).map(|(_, path)| path)
}

/// Returns the path of the cgroup of v2 in a `/proc/PID/cgroup`.
#[must_use]
pub fn cgroup_path_v2(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(path: &str) -> Option<String> {
        from_cgroup_path(path).map(|unit| unit.name)
    }

    #[test]
    fn system_units_wherever_their_slice_is() {
        assert_eq!(
            unit("/system.slice/mariadb.service").as_deref(),
            Some("mariadb.service")
        );
        assert_eq!(
            unit("/system.slice/system-getty.slice/getty@tty1.service").as_deref(),
            Some("getty@tty1.service")
        );
        assert_eq!(unit("/init.scope").as_deref(), Some("init.scope"));
        assert_eq!(
            unit("/system.slice/web.service/worker-3").as_deref(),
            Some("web.service")
        );
        assert_eq!(
            unit("/user.slice/user-0.slice/session-2.scope").as_deref(),
            Some("session-2.scope")
        );
        assert_eq!(unit("/_cgroup.service").as_deref(), Some("cgroup.service"));
    }

    #[test]
    fn a_unit_outside_of_ones_own_cgroup_namespace() {
        for path in ["/../../system.slice/web.service", "/../web.service"] {
            assert_eq!(unit(path).as_deref(), Some("web.service"), "{path}");
        }
    }

    #[test]
    fn a_user_manager_has_units_of_its_own() {
        let path = "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/x";
        let expected = Unit {
            name: "user@1000.service".into(),
            user: Some("web.service".into()),
        };
        assert_eq!(from_cgroup_path(path), Some(expected));
        let manager = "/user.slice/user-1000.slice/user@1000.service/init.scope";
        let user = from_cgroup_path(manager).and_then(|unit| unit.user);
        assert_eq!(user.as_deref(), Some("init.scope"));
        let bare = from_cgroup_path("/user.slice/user-1000.slice/user@1000.service");
        assert_eq!(bare.and_then(|unit| unit.user), None);
    }

    #[test]
    fn a_path_not_made_by_systemd_has_no_unit() {
        for path in [
            "",
            "/",
            "/docker/abc",
            "/system.slice",
            "/.service",
            "/lxc.payload.web/x.service",
        ] {
            assert_eq!(unit(path), None, "{path}");
        }
    }

    #[test]
    fn the_most_specific_path_is_used() {
        assert_eq!(
            cgroup_path("0::/system.slice/a.service\n"),
            Some("/system.slice/a.service")
        );
        let hybrid = "12:memory:/docker/x\n1:name=systemd:/system.slice/b.service\n0::/\n";
        assert_eq!(cgroup_path(hybrid), Some("/system.slice/b.service"));
        let v1 = "3:cpu,cpuacct:/\n2:memory:/docker/x\n1:name=systemd:/\n";
        assert_eq!(cgroup_path(v1), Some("/docker/x"));
        assert_eq!(cgroup_path("0::/\n"), Some("/"));
        assert_eq!(cgroup_path("0::/a:b\n"), Some("/a:b"));
        assert_eq!(cgroup_path("nonsense"), None);
        assert_eq!(cgroup_path_v2(hybrid), Some("/"));
        assert_eq!(cgroup_path_v2(v1), None);
    }
}
