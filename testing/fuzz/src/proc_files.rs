//! Other files of /proc and tracefs.

use tcpclose_sys::fuzzing::{
    TracepointFormat, descriptor_limit, real_uid, socket_inode, stat_field,
};

/// Takes the bytes for each of them.
pub fn proc_files(data: &[u8]) {
    for number in [0, 1, 2, 3, 4, 9, 22, 52, usize::MAX] {
        if let Some(value) = stat_field(data, number) {
            assert!(number > 2, "a field before the name: {value}");
        }
    }
    // A name may hold anything, but never shifts the fields behind it.
    let mut stat = b"1 (".to_vec();
    stat.extend(data);
    stat.extend(b") S 7 8 9");
    assert_eq!(stat_field(&stat, 4), Some(7));
    assert_eq!(stat_field(&stat, 6), Some(9));

    let _ = (descriptor_limit(data), real_uid(data));
    if let Some(inode) = socket_inode(data) {
        assert!(data.len() >= format!("socket:[{inode}]").len());
    }
    let format = TracepointFormat::parse(&String::from_utf8_lossy(data));
    let _ = (format.size(), format.field("skaddr"));
}
