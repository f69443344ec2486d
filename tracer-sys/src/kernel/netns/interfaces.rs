//! The interfaces of a namespace.

#![expect(unsafe_code, reason = "rustix cannot list interfaces")]

use tcpclose_core::types::InterfaceIndex;

/// Indexes of the interfaces in the calling thread's namespace; none where the kernel does not tell.
#[must_use]
pub fn interfaces() -> Vec<InterfaceIndex> {
    let mut indexes = Vec::new();
    // SAFETY: the array ends with an entry of zeros, and is given back once nothing points into it any more.
    unsafe {
        let all = libc::if_nameindex();
        if all.is_null() {
            return indexes;
        }
        let mut next = all;
        while let Some(index) = InterfaceIndex::new((*next).if_index) {
            indexes.push(index);
            next = next.add(1);
        }
        libc::if_freenameindex(all);
    }
    indexes
}

#[cfg(test)]
mod tests {
    use super::{InterfaceIndex, interfaces};

    #[test]
    fn each_interface_is_told_once() {
        let mut listed: Vec<u32> = std::fs::read_dir("/sys/class/net")
            .unwrap()
            .filter_map(|entry| std::fs::read_to_string(entry.unwrap().path().join("ifindex")).ok())
            .map(|index| index.trim().parse().unwrap())
            .collect();
        listed.sort_unstable();
        let mut told: Vec<u32> = interfaces().into_iter().map(InterfaceIndex::get).collect();
        told.sort_unstable();
        assert_eq!(told, listed);
    }
}
