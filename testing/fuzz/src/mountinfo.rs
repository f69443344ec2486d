//! `/proc/PID/mountinfo`: mount points have names that any mounting process chooses.

use std::os::unix::ffi::OsStrExt as _;

use tcpclose_sys::fuzzing::{cgroup_mount, network_namespaces};

/// Looks for network namespaces and the cgroup2 file system among the mounts.
pub fn mountinfo(data: &[u8]) {
    let mut found = Vec::new();
    network_namespaces(data, |id, point| found.push((id, point)));
    assert!(found.len() <= data.split(|byte| *byte == b'\n').count());
    for (id, point) in found {
        // What the kernel would write for this mount is read as the same.
        let written = escape(point.as_os_str().as_bytes());
        let mut line = format!("1 2 0:4 net:[{}] ", id.get()).into_bytes();
        line.extend(written);
        line.extend(b" rw - nsfs nsfs rw\n");
        let mut again = Vec::new();
        network_namespaces(&line, |id, point| again.push((id, point)));
        assert_eq!(again, [(id, point)]);
    }

    if let Some((point, prefix)) = cgroup_mount(data) {
        assert!(point.as_os_str().len() <= 3 * data.len());
        assert!(prefix.is_empty() || prefix.starts_with('/') && !prefix.ends_with('/'));
        assert!(prefix.split('/').all(|name| name != ".."));
    }
}

/// As `mangle` in the kernel's fs/proc_namespace.c, and for everything that could end the line.
fn escape(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for &byte in name {
        match byte {
            0x21..=0x7e if byte != b'\\' => escaped.push(byte),
            _ => escaped.extend(format!("\\{byte:03o}").bytes()),
        }
    }
    escaped
}
