//! A table of the descriptors of sockets, by the sockets' inodes.

use tcpclose_common::SocketDescriptor;

/// The descriptors of each socket, in all processes.
#[derive(Clone, Debug, Default)]
pub struct DescriptorTable(Vec<SocketDescriptor>);

impl DescriptorTable {
    /// Returns all descriptors of this inode: of several processes after fork() or when it was sent
    /// to another, several of one process after dup(). In the order of pid and number.
    pub fn for_inode(&self, inode: u32) -> impl Iterator<Item = SocketDescriptor> + '_ {
        let start = self.0.partition_point(|other| other.inode < inode);
        let descriptors = self.0[start..].iter();
        descriptors
            .take_while(move |other| other.inode == inode)
            .copied()
    }

    /// Returns the inodes that have a descriptor, once for each descriptor.
    pub fn inodes(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|descriptor| descriptor.inode)
    }
}

impl FromIterator<SocketDescriptor> for DescriptorTable {
    fn from_iter<T: IntoIterator<Item = SocketDescriptor>>(descriptors: T) -> Self {
        let mut descriptors = Vec::from_iter(descriptors);
        descriptors.sort_unstable_by_key(|it| (it.inode, it.pid, it.fd));
        Self(descriptors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_found_by_their_inode() {
        let descriptor = |inode, pid, fd| SocketDescriptor { pid, fd, inode };
        let all = [
            descriptor(9, 1, 5),
            descriptor(7, 2, 4),
            descriptor(5, 1, 3),
            descriptor(7, 1, 4),
        ];
        let table = DescriptorTable::from_iter(all);
        let found = |inode| table.for_inode(inode).collect::<Vec<_>>();
        assert_eq!(found(7), [descriptor(7, 1, 4), descriptor(7, 2, 4)]);
        assert_eq!(found(6), []);
        assert_eq!(found(10), []);
        assert_eq!(table.inodes().collect::<Vec<_>>(), [5, 7, 7, 9]);
    }
}
